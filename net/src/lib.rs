//! Bytes on a wire: the protocol's words, the RESP codec.
