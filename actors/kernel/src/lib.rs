//! What an actor is, and the ports through which it sees the world.
