// Lets evaluatePacket stand without a body.
