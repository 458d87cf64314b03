//! GET over plain HTTP/1.1 from inside a namespace: no more than the operator's admin endpoints need.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::namespaces::Stack;

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// Fetches a path; the limit is for all of it.
pub async fn get(stack: &Stack, address: SocketAddr, path: &str, limit: Duration) -> Result<Response> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let bytes = stack
        .run(move || async move {
            timeout(limit, async {
                let mut stream = TcpStream::connect(address).await?;
                stream.write_all(request.as_bytes()).await?;
                let mut bytes = Vec::new();
                stream.read_to_end(&mut bytes).await?;
                anyhow::Ok(bytes)
            })
            .await
        })
        .await?
        .with_context(|| format!("http://{address}{path}: no response within {limit:?}"))?
        .with_context(|| format!("http://{address}{path}"))?;
    parse(&bytes).with_context(|| format!("http://{address}{path}"))
}

fn parse(bytes: &[u8]) -> Result<Response> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n").context("the response has no head")?;
    let status = head.split_whitespace().nth(1).and_then(|code| code.parse().ok()).context("no status")?;
    let is_chunked = head
        .lines()
        .any(|line| line.to_ascii_lowercase().starts_with("transfer-encoding:") && line.contains("chunked"));
    let body = if is_chunked { unchunk(body)? } else { body.to_owned() };
    Ok(Response { status, body })
}

fn unchunk(mut rest: &str) -> Result<String> {
    let mut body = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n").context("a chunk without a size")?;
        let size = usize::from_str_radix(size.trim(), 16).context("a chunk's size")?;
        if size == 0 {
            return Ok(body);
        }
        let Some(chunk) = after.get(..size) else { bail!("a chunk is cut short") };
        body.push_str(chunk);
        rest = after.get(size + 2..).context("a chunk is cut short")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_and_chunked_bodies_are_read() {
        let plain = parse(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").expect("parses");
        assert_eq!(plain, Response { status: 200, body: "ok".to_owned() });
        let chunked =
            parse(b"HTTP/1.1 504 X\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n");
        assert_eq!(chunked.expect("parses"), Response { status: 504, body: "abc".to_owned() });
        assert!(parse(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nab").is_err());
    }
}
