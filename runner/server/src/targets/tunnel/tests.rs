use std::mem;

use proptest::prelude::*;
use staith_model::service::TUNNEL_PIECE;

use super::*;
use crate::targets::pipe::MOST;

fn step(tunnel: &mut Tunnel, event: Event<'_>) -> Result<Came, Not> {
    let (after, came) = mem::replace(tunnel, Tunnel::Offered).after(event);
    *tunnel = after;
    came
}

fn said(by: Side, offset: u64, bytes: &[u8]) -> Event<'_> {
    Event::Said { by, offset, bytes }
}

fn bytes(came: Result<Came, Not>) -> Vec<u8> {
    match came {
        Ok(Came::Bytes(bytes)) => bytes.to_vec(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_goes_before_the_program_runs() {
    let mut tunnel = Tunnel::Offered;
    assert_eq!(step(&mut tunnel, said(Side::Deployer, 0, b"early")), Ok(Came::Next(0)));
    assert!(tunnel.is_full(Side::Deployer));
    step(&mut tunnel, Event::Taken).unwrap();
    assert_eq!(step(&mut tunnel, said(Side::Deployer, 0, b"early")), Ok(Came::Next(5)));
    assert_eq!(bytes(step(&mut tunnel, Event::Asked { by: Side::Machine, offset: 0 })), b"early");
}

#[test]
fn what_the_program_said_last_is_heard_after_its_end_and_only_then_is_it_over() {
    let mut tunnel = Tunnel::Offered;
    step(&mut tunnel, said(Side::Machine, 0, b"done")).unwrap();
    step(&mut tunnel, Event::End(End::Finished)).unwrap();
    let over = Err(Not::Ended(End::Finished));
    assert_eq!(step(&mut tunnel, said(Side::Deployer, 0, b"more")), over);
    assert_eq!(bytes(step(&mut tunnel, Event::Asked { by: Side::Deployer, offset: 0 })), b"done");
    assert_eq!(step(&mut tunnel, Event::Asked { by: Side::Deployer, offset: 4 }), over);
}

#[test]
fn the_first_end_counts_and_nothing_opens_it_again() {
    let mut tunnel = Tunnel::Offered;
    let why = End::Broken("the key was revoked".into());
    for end in [why.clone(), End::Finished, End::Left] {
        assert_eq!(step(&mut tunnel, Event::End(end)), Ok(Came::Done));
    }
    assert_eq!(step(&mut tunnel, Event::Taken), Err(Not::Ended(why.clone())));
    assert_eq!(step(&mut tunnel, said(Side::Machine, 0, b"x")), Err(Not::Ended(why)));
    assert!(!tunnel.is_wanted());
}

#[test]
fn who_counts_wrong_is_told_where_it_goes_on() {
    let mut tunnel = Tunnel::Offered;
    step(&mut tunnel, Event::Taken).unwrap();
    let gap = |next| Err(Not::Gap(Gap { next }));
    assert_eq!(step(&mut tunnel, said(Side::Deployer, 3, b"x")), gap(0));
    step(&mut tunnel, said(Side::Deployer, 0, b"abc")).unwrap();
    step(&mut tunnel, Event::Asked { by: Side::Machine, offset: 2 }).unwrap();
    // What has arrived is gone, and what was not said is not there.
    assert_eq!(step(&mut tunnel, Event::Asked { by: Side::Machine, offset: 1 }), gap(3));
    assert_eq!(step(&mut tunnel, Event::Asked { by: Side::Machine, offset: 4 }), gap(3));
}

#[test]
fn no_more_is_kept_than_is_said() {
    let mut tunnel = Tunnel::Offered;
    let much = vec![7; MOST + 10];
    let most = MOST as u64;
    assert_eq!(step(&mut tunnel, said(Side::Machine, 0, &much)), Ok(Came::Next(most)));
    assert!(tunnel.is_full(Side::Machine));
    assert_eq!(step(&mut tunnel, said(Side::Machine, most, &much[MOST..])), Ok(Came::Next(most)));
    step(&mut tunnel, Event::Asked { by: Side::Deployer, offset: 5 }).unwrap();
    assert_eq!(step(&mut tunnel, said(Side::Machine, most, &much[MOST..])), Ok(Came::Next(most + 5)));
}

/// One side of a direction of a tunnel, with what it believes.
#[derive(Debug, Clone, Copy)]
enum Turn {
    /// Says up to so many more bytes; the answer is lost, or not.
    Says(usize, bool),
    /// Asks for more; the answer is lost, or not.
    Asks(bool),
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let says = (1..400_000_usize, any::<bool>()).prop_map(|(many, lost)| Turn::Says(many, lost));
    proptest::collection::vec(prop_oneof![says, any::<bool>().prop_map(Turn::Asks)], 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever answers are lost: what arrives is what was said, in its order, once; and no more is kept than fits.
    #[test]
    fn every_byte_arrives_once(turns in turns(), down in any::<bool>()) {
        let (from, to) = if down { (Side::Deployer, Side::Machine) } else { (Side::Machine, Side::Deployer) };
        let mut tunnel = Tunnel::Offered;
        step(&mut tunnel, Event::Taken).unwrap();
        let all: Vec<u8> = (0..3_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let (mut taken, mut heard) = (0_usize, Vec::new());
        let ask = |tunnel: &mut Tunnel, heard: &mut Vec<u8>, is_lost: bool| {
            let more = bytes(step(tunnel, Event::Asked { by: to, offset: heard.len() as u64 }));
            prop_assert!(more.len() <= TUNNEL_PIECE);
            if !is_lost {
                heard.extend_from_slice(&more);
            }
            Ok(())
        };
        for turn in turns {
            match turn {
                Turn::Says(many, is_lost) => {
                    let piece = &all[taken..(taken + many).min(all.len())];
                    let came = step(&mut tunnel, said(from, taken as u64, piece));
                    let Ok(Came::Next(next)) = came else { panic!("{came:?}") };
                    let next = usize::try_from(next).unwrap();
                    prop_assert!(next >= taken && next - heard.len() <= MOST);
                    if !is_lost {
                        taken = next;
                    }
                }
                Turn::Asks(is_lost) => ask(&mut tunnel, &mut heard, is_lost)?,
            }
            prop_assert_eq!(&heard[..], &all[..heard.len()]);
        }
        for _ in 0..=MOST / TUNNEL_PIECE {
            ask(&mut tunnel, &mut heard, false)?;
        }
        prop_assert!(heard.len() >= taken, "what was taken arrives");
        prop_assert_eq!(&heard[..], &all[..heard.len()]);
    }
}
