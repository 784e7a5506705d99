//! What callers see of a key's state is what one caller after the other would see: every answer of
//! DisableKey, EnableKey, Encrypt and DescribeKey has a moment between its request and its arrival at
//! which all of it happened, also across servers that are killed. (Herlihy and Wing, *Linearizability*,
//! 1990; the search is that of Wing and Gong, along the history.)
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside #[test] may fail too

use serde_json::json;
use std::collections::HashSet;
use std::time::{Duration, Instant};
use waxseal_conformance::{Client, Dice, Server, World, promise, tier};

const CALLERS: usize = 12;
const KEYS: usize = 3;
/// How long a server lives.
const LIFE: Duration = Duration::from_millis(400);

/// What one request did or saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    /// It enabled the key, or disabled it.
    Set(bool),
    /// It found the key enabled, or not.
    Saw(bool),
}

/// A moment of the history of a key.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// The request of this number began.
    Asked(usize, Act),
    /// Its answer came.
    Answered(usize),
    /// Nobody will answer it any more: it may have been done, until now.
    Lost(usize),
}

/// A state that is possible, and the requests under way that would have been done by then.
type Possible = (bool, Vec<usize>);

/// Whether each answer has its moment, for a key that is enabled at first. At fault is the answer that has
/// none.
fn check(history: &[Moment]) -> Result<(), usize> {
    let mut under_way: Vec<(usize, Act)> = Vec::new();
    let mut possible: HashSet<Possible> = HashSet::from([(true, Vec::new())]);
    for moment in history {
        match *moment {
            Moment::Asked(number, act) => under_way.push((number, act)),
            Moment::Answered(number) | Moment::Lost(number) => {
                let all = reachable(&possible, &under_way);
                under_way.retain(|(other, _)| *other != number);
                let must = matches!(moment, Moment::Answered(_));
                let kept = all.into_iter().filter_map(|(state, mut done)| {
                    let at = done.iter().position(|other| *other == number);
                    if let Some(at) = at {
                        done.remove(at);
                    }
                    (at.is_some() || !must).then_some((state, done))
                });
                possible = kept.collect();
                if possible.is_empty() {
                    return Err(number);
                }
            }
        }
    }
    Ok(())
}

/// All that may be by now, when any of those under way may have been done in any order.
fn reachable(possible: &HashSet<Possible>, under_way: &[(usize, Act)]) -> HashSet<Possible> {
    let mut all = possible.clone();
    let mut next: Vec<Possible> = all.iter().cloned().collect();
    while let Some((state, done)) = next.pop() {
        for &(number, act) in under_way {
            let state = match act {
                _ if done.contains(&number) => continue,
                Act::Set(state) => state,
                Act::Saw(seen) if seen == state => state,
                Act::Saw(_) => continue,
            };
            let mut done = done.clone();
            done.push(number);
            done.sort_unstable();
            if all.insert((state, done.clone())) {
                next.push((state, done));
            }
        }
    }
    all
}

#[test]
fn the_search_finds_what_cannot_be() {
    use Act::{Saw, Set};
    use Moment::{Answered, Asked, Lost};
    // Seen while it was being set: either is right.
    for seen in [true, false] {
        let history = [
            Asked(1, Set(false)),
            Asked(2, Saw(seen)),
            Answered(2),
            Answered(1),
        ];
        assert_eq!(check(&history), Ok(()));
    }
    // Seen enabled by one who began after it was disabled.
    let stale = [
        Asked(1, Set(false)),
        Answered(1),
        Asked(2, Saw(true)),
        Answered(2),
    ];
    assert_eq!(check(&stale), Err(2));
    // Seen disabled, then enabled, when only one disables.
    let back = [
        Asked(1, Set(false)),
        Asked(2, Saw(false)),
        Answered(2),
        Asked(3, Saw(true)),
        Answered(3),
        Answered(1),
    ];
    assert_eq!(check(&back), Err(3));
    // What was lost may have been done, or not, but not later.
    for seen in [true, false] {
        let lost = [
            Asked(1, Set(false)),
            Lost(1),
            Asked(2, Saw(seen)),
            Answered(2),
        ];
        assert_eq!(check(&lost), Ok(()));
        let later = [
            Asked(1, Set(false)),
            Lost(1),
            Asked(2, Saw(true)),
            Answered(2),
            Asked(3, Saw(seen)),
            Answered(3),
        ];
        assert_eq!(check(&later), if seen { Ok(()) } else { Err(3) });
    }
}

/// A request as its caller knows it.
struct Call {
    key: usize,
    begun: Instant,
    ended: Instant,
    /// What it would have done if nobody answered it; nothing if that tells nothing.
    act: Option<Act>,
    is_answered: bool,
}

#[test]
fn states_of_keys_are_linearizable() {
    let lives = tier(12, 200);
    let (mut dice, seed) = Dice::new(0x11ea_0707);
    let world = World::new();
    let data = world.path("data");
    let mut server = Server::start(&world, &data);
    let keys: Vec<String> = (0..KEYS)
        .map(|_| {
            let made = server.client().call("CreateKey", &json!({})).unwrap();
            made.text("/KeyMetadata/KeyId").to_owned()
        })
        .collect();
    let mut histories = vec![Vec::new(); KEYS];
    let (mut number, mut answered, mut lost) = (0, 0, 0);
    for _ in 0..lives {
        let moment = dice.moment(LIFE);
        let calls: Vec<Call> = std::thread::scope(|scope| {
            let callers: Vec<_> = (0..CALLERS)
                .map(|_| {
                    let (client, dice, keys) = (server.client(), dice.another(), &keys);
                    scope.spawn(move || load(client, keys, dice))
                })
                .collect();
            std::thread::sleep(moment);
            server.kill();
            let calls = callers
                .into_iter()
                .flat_map(|caller| caller.join().unwrap());
            calls.collect()
        });
        // What was under way is done or settled once a server is there again.
        server = Server::start(&world, &data);
        let restarted = Instant::now();
        let mut moments = Vec::new();
        for Call {
            key,
            begun,
            ended,
            act,
            is_answered,
        } in calls
        {
            let Some(act) = act else { continue };
            number += 1;
            moments.push((begun, key, Moment::Asked(number, act)));
            match is_answered {
                true => moments.push((ended, key, Moment::Answered(number))),
                false => moments.push((restarted, key, Moment::Lost(number))),
            }
            if is_answered {
                answered += 1;
            } else {
                lost += 1;
            }
        }
        moments.sort_by_key(|(time, ..)| *time);
        for (_, key, moment) in moments {
            histories[key].push(moment);
        }
    }
    server.kill();
    for (key, history) in histories.iter().enumerate() {
        let checked = check(history);
        assert_eq!(checked, Ok(()), "seed {seed}, key {key}: {history:?}");
    }
    assert!(answered > 100 * lives, "{answered} answers");
    promise(
        "linearizable",
        format!(
            "{answered} answers about the states of {KEYS} keys to {CALLERS} callers over {lives} kills (seed \
             {seed}), {lost} changes whose answer was lost: all linearizable"
        ),
    );
}

/// Asks until nobody answers any more.
fn load(mut client: Client, keys: &[String], mut dice: Dice) -> Vec<Call> {
    let mut calls = Vec::new();
    loop {
        let key = dice.below(keys.len() as u64) as usize;
        let input = json!({ "KeyId": keys[key] });
        let (operation, input, set) = match dice.below(10) {
            0 => ("DisableKey", input, Some(false)),
            1 => ("EnableKey", input, Some(true)),
            2..=4 => ("DescribeKey", input, None),
            _ => (
                "Encrypt",
                json!({ "KeyId": keys[key], "Plaintext": "eA==" }),
                None,
            ),
        };
        let begun = Instant::now();
        let answer = client.call(operation, &input);
        let ended = Instant::now();
        let is_answered = answer.is_ok();
        let act = match (&answer, set) {
            (Ok(answer), Some(state)) => {
                assert!(answer.is_done(), "{answer:?}");
                Some(Act::Set(state))
            }
            (Err(_), Some(state)) => Some(Act::Set(state)),
            (Err(_), None) => None,
            (Ok(answer), None) if operation == "DescribeKey" => {
                Some(Act::Saw(answer.text("/KeyMetadata/KeyState") == "Enabled"))
            }
            (Ok(answer), None) if answer.is_done() => Some(Act::Saw(true)),
            (Ok(answer), None) => {
                assert_eq!(answer.body["__type"], "DisabledException", "{answer:?}");
                Some(Act::Saw(false))
            }
        };
        calls.push(Call {
            key,
            begun,
            ended,
            act,
            is_answered,
        });
        if !is_answered {
            return calls;
        }
    }
}
