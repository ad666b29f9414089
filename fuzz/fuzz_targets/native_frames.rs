#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| orloj_fuzz::native_frames::judge(data));
