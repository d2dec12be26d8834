//! Operations that change who runs. What they mean for several instances is tested in files of its own.

use crate::{
    run::{Case, done, refused},
    support::at,
    world::*,
};
use javm_abi::GuestOp::{CallResume, DropPaused, HostCall, HostYield};

pub(crate) fn cases() -> Vec<Case> {
    let no_callee = "not available: slot 0 travels with the call: no callee can sit there";
    let not_paused = "slot 3 holds no paused call that can be resumed or dropped now";
    vec![
        done(HostYield, &[MARKER], 0, |o| {
            assert_eq!((o.a(0), o.a(1)), (MARKER, 0));
            // Its slot 0 was shown, and what came back is there.
            assert_eq!(o.caught.last(), Some(&Some(o.pad)));
            assert_eq!(o.rig.bytes(o.slot0.unwrap()), b"resumed");
            assert_eq!(o.after, o.before);
        }),
        refused(HostYield, &[EMPTY], "slot 6 is empty"),
        refused(HostYield, &[HELLO], "slot 1 holds a Data, Instance is needed"),
        refused(HostYield, &[TYPE], "slot 5 holds a Type, Instance is needed"),
        refused(HostYield, &[OOG_MARKER], "not available: only the kernel yields this marker"),
        done(HostCall, &[INSTANCE, 0, 40, 2], 0, |o| {
            o.only(&[]);
            assert_eq!((o.a(0), o.a(1)), (42, 0));
        })
        .runs_more(),
        refused(HostCall, &[EMPTY, 0], "slot 6 is empty"),
        refused(HostCall, &[HELLO, 0], "slot 1 holds a Data, Instance is needed"),
        refused(HostCall, &[IMAGE, 0], "slot 4 holds a Image, Instance is needed"),
        refused(
            HostCall,
            &[PAUSED, 0],
            "the instance in slot 14 is not idle: it can only be resumed or dropped",
        ),
        refused(HostCall, &[0, 0], no_callee),
        refused(HostCall, &[at(0, &[1]), 0], "slot 0/1: step 1 goes through something that is no cnode"),
        done(CallResume, &[PAUSED], 1, |o| {
            o.only(&[PAUSED]);
            assert_eq!((o.a(0), o.a(1)), (9, 0));
            let idle = o.rig.as_instance(o.is(PAUSED).unwrap());
            assert_eq!(idle.status(), &javm_cap::Status::default());
        })
        .runs_more(),
        refused(CallResume, &[INSTANCE], not_paused),
        refused(CallResume, &[HELLO], "slot 1 holds no paused call that can be resumed or dropped now"),
        refused(CallResume, &[EMPTY], "slot 6 is empty"),
        refused(CallResume, &[0], no_callee),
        done(DropPaused, &[PAUSED], 0, |o| {
            o.only(&[PAUSED]);
            assert_eq!(o.is(PAUSED), None);
        }),
        refused(DropPaused, &[INSTANCE], not_paused),
        refused(DropPaused, &[HELLO], "slot 1 holds no paused call that can be resumed or dropped now"),
        refused(DropPaused, &[EMPTY], "slot 6 is empty"),
    ]
}
