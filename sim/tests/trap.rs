//! What simulated code cannot ask of the machine, and what everybody else still can.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "what is disallowed is the subject"
)]

use std::{
    collections::HashMap,
    net::UdpSocket,
    thread,
    time::{Duration, Instant, SystemTime},
};

use orloj_sim::{Config, Failure, Simulation, Traps, testing::on_fresh_thread};

const HOUR: Duration = Duration::from_secs(3_600);

/// What becomes of `code` as a task, an hour into a world whose traps are `traps`.
fn world<T: Send + 'static>(
    traps: Traps,
    code: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    // A thread keeps the keys of its hash maps, and asks the machine for them only once.
    on_fresh_thread(move || {
        let mut config = Config::seed(7);
        config.traps = traps;
        let mut sim = Simulation::new(config);
        let cx = sim.idle_host("host");
        sim.run(cx, async move {
            cx.sleep(HOUR).await;
            code()
        })
    })
}

/// The C library's function as a guest finds it that asks the loader by name.
fn random_by_name() -> u64 {
    let mut word = 0_u64;
    // SAFETY: the name is a C string, and the function of that name has this type.
    let get: unsafe extern "C" fn(*mut u64, usize, u32) -> isize =
        unsafe { std::mem::transmute(libc::dlsym(libc::RTLD_DEFAULT, c"getrandom".as_ptr())) };
    // SAFETY: eight bytes for eight.
    assert_eq!(unsafe { get(&raw mut word, 8, 0) }, 8);
    word
}

fn random() -> u64 {
    let mut word = 0_u64;
    // SAFETY: eight bytes for eight.
    assert_eq!(unsafe { libc::getrandom((&raw mut word).cast(), 8, 0) }, 8);
    word
}

fn entropy() -> u64 {
    let mut word = 0_u64;
    // SAFETY: eight bytes for eight.
    assert_eq!(unsafe { libc::getentropy((&raw mut word).cast(), 8) }, 0);
    word
}

fn hashed() -> u64 {
    std::hash::BuildHasher::hash_one(HashMap::<u8, u8>::new().hasher(), 1)
}

fn seconds() -> i64 {
    // SAFETY: null asks for the result alone.
    unsafe { libc::time(std::ptr::null_mut()) }
}

fn day() -> i64 {
    let mut time = libc::timeval { tv_sec: 0, tv_usec: 0 };
    // SAFETY: `time` is a place for the answer, and no zone is asked for.
    assert_eq!(unsafe { libc::gettimeofday(&raw mut time, std::ptr::null_mut()) }, 0);
    time.tv_sec
}

#[test]
fn a_task_that_asks_the_machine_fails_its_run() {
    type Leak = (&'static str, fn());
    let leaks: [Leak; 13] = [
        ("clock_gettime", || _ = Instant::now()),
        ("clock_gettime", || _ = SystemTime::now()),
        ("gettimeofday", || _ = day()),
        ("time", || _ = seconds()),
        ("getrandom", || _ = hashed()),
        ("getrandom", || _ = random()),
        ("getrandom", || _ = random_by_name()),
        ("getentropy", || _ = entropy()),
        ("pthread_create", || drop(thread::Builder::new().spawn(|| ()))),
        ("nanosleep", || thread::sleep(HOUR)),
        ("socket", || drop(UdpSocket::bind("127.0.0.1:0"))),
        ("sched_getaffinity", || drop(thread::available_parallelism())),
        ("pthread_create", || thread::spawn(|| ()).join().expect("it returns")),
    ];
    for (name, leak) in leaks {
        let failure = world(Traps::Deny, leak).expect_err(name);
        assert_eq!(failure.law, "trap", "{name}: {failure}");
        assert!(failure.evidence.contains(name), "{name}: {}", failure.evidence);
        let backtrace = failure.backtrace.expect("it was taken");
        assert!(backtrace.contains("trap.rs"), "the leak is named: {backtrace}");
        assert_eq!(world(Traps::Off, || ()), Ok(()), "nothing is left armed after {name}");
    }
}

#[test]
fn the_first_call_is_the_one_that_is_shown() {
    let failure = world(Traps::Deny, || (seconds(), random())).expect_err("both are leaks");
    assert!(failure.evidence.contains("`time`"), "{failure}");
}

#[test]
fn guests_are_given_the_time_and_chance_of_their_host() {
    let once = || {
        world(Traps::Virtualise, || {
            let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            let begun = Instant::now();
            let words = [hashed(), hashed(), random(), random_by_name(), entropy()];
            let processors = thread::available_parallelism().unwrap().get();
            (wall, seconds(), day(), begun.elapsed(), words, processors)
        })
        .unwrap()
    };
    let first = once();
    let (wall, seconds, day, elapsed, words, processors) = first;
    // Worlds begin with the year 2026.
    assert_eq!(wall.as_secs(), 1_767_225_600 + 3_600);
    assert_eq!(
        (seconds as u64, day as u64, elapsed),
        (wall.as_secs(), wall.as_secs(), Duration::ZERO)
    );
    assert!(processors >= 1);
    assert!(words.iter().all(|word| words.iter().filter(|w| *w == word).count() == 1));
    assert_eq!(once(), first, "the same seed gives the same answers");
}

#[test]
fn nothing_in_a_world_stands_for_a_thread_a_sleep_or_a_socket() {
    let refused: [fn(); 3] = [
        || drop(thread::Builder::new().spawn(|| ())),
        || thread::sleep(HOUR),
        || drop(UdpSocket::bind("127.0.0.1:0")),
    ];
    for leak in refused {
        assert_eq!(world(Traps::Virtualise, leak).expect_err("refused").law, "trap");
    }
}

fn the_machine_answers() {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    assert!(wall.abs_diff(seconds() as u64) <= 1 && wall.abs_diff(day() as u64) <= 1);
    let begun = Instant::now();
    thread::sleep(Duration::from_millis(2));
    assert!((2..60_000).contains(&begun.elapsed().as_millis()));
    let words = [random(), random(), random_by_name(), entropy(), hashed(), hashed()];
    assert!(words.iter().all(|word| words.iter().filter(|w| *w == word).count() == 1));
    assert_eq!(thread::spawn(|| 7).join().unwrap(), 7);
    assert!(thread::available_parallelism().is_ok());
    assert!(UdpSocket::bind("127.0.0.1:0").is_ok());
}

#[test]
fn outside_of_a_task_nothing_changes() {
    the_machine_answers();
    // On another thread, while a task is being polled on this one; and between two runs.
    let (send, receive) = std::sync::mpsc::channel::<()>();
    let (answer, answered) = std::sync::mpsc::channel();
    let other = thread::spawn(move || {
        receive.recv().unwrap();
        the_machine_answers();
        answer.send(()).unwrap();
    });
    let met = world(Traps::Deny, move || {
        send.send(()).unwrap();
        answered.recv().is_ok()
    });
    assert_eq!(met, Ok(true));
    other.join().unwrap();
    let mut sim = Simulation::new(Config::seed(7));
    let cx = sim.idle_host("host");
    sim.run(cx, async {}).unwrap();
    the_machine_answers();
    sim.control(|_| the_machine_answers());
    drop(sim);
    assert_eq!(world(Traps::Off, the_machine_answers), Ok(()));
}

/// Destructors of a world that ends, and of the thread itself, are not tasks.
#[test]
fn a_destructor_of_the_thread_asks_freely() {
    struct Late;
    impl Drop for Late {
        fn drop(&mut self) {
            the_machine_answers();
        }
    }
    thread_local! {
        static LATE: Late = const { Late };
    }
    let ended = thread::spawn(|| {
        LATE.with(|_| ());
        let mut sim = Simulation::new(Config::seed(7));
        let cx = sim.idle_host("host");
        sim.run(cx, async {}).unwrap();
    });
    ended.join().unwrap();
}
