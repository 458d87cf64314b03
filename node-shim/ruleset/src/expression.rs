//! Short forms of the `nftables` crate's expressions and statements that the skeleton is written with. Every form
//! here is one that stock nft 1.0.6 lists and reads back.

use nftables::expr::{
    CT, Expression, Map, Meta, MetaKey, NamedExpression, Payload, PayloadField, Prefix, SetItem,
};
use nftables::stmt::{Counter, JumpTarget, Mangle, Match, Operator, Statement, VerdictMap};

pub(crate) type Expr = Expression<'static>;
pub(crate) type Stmt = Statement<'static>;

pub(crate) fn text(value: &'static str) -> Expr {
    Expression::String(value.into())
}

pub(crate) fn payload(protocol: &'static str, field: &'static str) -> Expr {
    Expression::Named(NamedExpression::Payload(Payload::PayloadField(PayloadField {
        protocol: protocol.into(),
        field: field.into(),
    })))
}

pub(crate) fn meta(key: MetaKey) -> Expr {
    Expression::Named(NamedExpression::Meta(Meta { key }))
}

/// The scratch value: the class, then the program. It starts as whatever the packet's TOS says.
pub(crate) fn scratch() -> Expr {
    meta(MetaKey::Priority)
}

pub(crate) fn ct_state() -> Expr {
    Expression::Named(NamedExpression::CT(CT { key: "state".into(), family: None, dir: None }))
}

pub(crate) fn concat(fields: impl IntoIterator<Item = Expr>) -> Expr {
    Expression::Named(NamedExpression::Concat(fields.into_iter().collect()))
}

/// An anonymous set.
pub(crate) fn any_of(values: &[&'static str]) -> Expr {
    Expression::Named(NamedExpression::Set(
        values.iter().map(|value| SetItem::Element(text(value))).collect(),
    ))
}

/// A number, such as a protocol's: for the names of protocols nft needs /etc/protocols, which slim images lack.
pub(crate) fn number(value: u8) -> Expr {
    Expression::Number(value.into())
}

/// An anonymous set of numbers.
pub(crate) fn any_number(values: &[u8]) -> Expr {
    Expression::Named(NamedExpression::Set(
        values.iter().map(|value| SetItem::Element(number(*value))).collect(),
    ))
}

pub(crate) fn prefix(address: &'static str, len: u32) -> Expr {
    Expression::Named(NamedExpression::Prefix(Prefix { addr: Box::new(text(address)), len }))
}

fn reference(set: &str) -> Expr {
    Expression::String(format!("@{set}").into())
}

pub(crate) fn equal(left: Expr, right: Expr) -> Stmt {
    Statement::Match(Match { left, right, op: Operator::EQ })
}

pub(crate) fn unequal(left: Expr, right: Expr) -> Stmt {
    Statement::Match(Match { left, right, op: Operator::NEQ })
}

/// Goes on if the key is in the named set.
pub(crate) fn within(key: Expr, set: &str) -> Stmt {
    equal(key, reference(set))
}

/// Sets the scratch value to what the named map holds for the key. A miss leaves it alone and ends the rule.
pub(crate) fn set_scratch(key: Expr, map: &str) -> Stmt {
    let value = Expression::Named(NamedExpression::Map(Box::new(Map { key, data: reference(map) })));
    Statement::Mangle(Mangle { key: scratch(), value })
}

pub(crate) fn reset_scratch() -> Stmt {
    Statement::Mangle(Mangle { key: scratch(), value: text("none") })
}

pub(crate) fn verdict_map(key: Expr, cases: impl IntoIterator<Item = (&'static str, Stmt)>) -> Stmt {
    let items =
        cases.into_iter().map(|(value, verdict)| SetItem::MappingStatement(text(value), verdict)).collect();
    Statement::VerdictMap(VerdictMap { key, data: Expression::Named(NamedExpression::Set(items)) })
}

pub(crate) fn accept() -> Stmt {
    Statement::Accept(None)
}

pub(crate) fn drop() -> Stmt {
    Statement::Drop(None)
}

pub(crate) fn leave() -> Stmt {
    Statement::Return(None)
}

pub(crate) fn counter() -> Stmt {
    Statement::Counter(Counter::Anonymous(None))
}

pub(crate) fn jump(chain: impl Into<String>) -> Stmt {
    Statement::Jump(JumpTarget { target: chain.into().into() })
}

pub(crate) fn goto(chain: impl Into<String>) -> Stmt {
    Statement::Goto(JumpTarget { target: chain.into().into() })
}
