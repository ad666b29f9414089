//! The test attribute of the simulator.
