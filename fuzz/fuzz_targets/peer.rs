#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| orloj_fuzz::peer::judge(data));
