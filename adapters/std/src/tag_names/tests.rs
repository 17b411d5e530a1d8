//! Tests of the table of texts.

use std::{collections::BTreeMap, thread};

use super::*;

/// Two texts with the same tag, which a search among 33 million texts has found.
const COLLIDING: [&str; 2] = ["ORD-15578245", "ORD-22159214"];

fn id(number: u32) -> String {
    format!("ORD-{number:06}")
}

#[test]
fn a_slot_is_a_cache_line() {
    assert_eq!((size_of::<Slot>(), align_of::<Slot>()), (64, 64));
}

#[test]
fn the_newest_texts_are_kept_and_the_oldest_is_overwritten() {
    for size in [1, 2, 3, 7, 64, 1_000] {
        let names = TagNames::new(size);
        for number in 0..5_000 {
            let text = id(number);
            assert_eq!(names.tag_of(&text), tag_of(&text));
        }
        for number in 0..5_000 {
            let text = id(number);
            let is_kept = number as usize + size >= 5_000;
            assert_eq!(names.name(tag_of(&text)), is_kept.then_some(text), "{number} of {size}");
        }
        assert_eq!(names.collisions(), 0);
    }
}

#[test]
fn the_half_of_the_texts_that_was_used_last_is_kept() {
    // Keeps the texts in the order of their last use.
    let names = TagNames::new(100);
    let mut used = BTreeMap::new();
    let mut state = 1_u64;
    for turn in 0..20_000_u32 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let number = (state >> 33) as u32 % 300;
        names.tag_of(&id(number));
        used.insert(number, turn);
        if turn % 97 == 0 {
            let mut newest: Vec<_> = used.iter().map(|(number, turn)| (*turn, *number)).collect();
            newest.sort_unstable();
            for (_, number) in newest.iter().rev().take(50) {
                assert_eq!(names.name(tag_of(&id(*number))), Some(id(*number)), "turn {turn}");
            }
        }
    }
    // A text that is used all the time takes no room of others.
    let names = TagNames::new(10);
    for number in 0..10 {
        for _ in 0..100 {
            names.tag_of(&id(number));
        }
    }
    assert!((0..10).all(|number| names.name(tag_of(&id(number))).is_some()));
}

#[test]
fn a_text_that_does_not_fit_is_cut_at_the_end_of_a_character() {
    let names = TagNames::new(10);
    let cases = [
        (String::new(), String::new()),
        ("a\0b\0".to_owned(), "a\0b\0".to_owned()),
        ("x".repeat(40), "x".repeat(40)),
        ("x".repeat(41), "x".repeat(40) + "…"),
        ("x".repeat(39) + "é", "x".repeat(39) + "…"),
        ("文".repeat(14), "文".repeat(13) + "…"),
    ];
    for (text, shown) in cases {
        let tag = names.tag_of(&text);
        assert_eq!(names.name(tag), Some(shown), "{text}");
    }
    assert_eq!(names.collisions(), 0);
}

#[test]
fn a_tag_of_two_texts_has_no_name_while_both_are_known() {
    let [one, other] = COLLIDING;
    let tag = tag_of(one);
    assert_eq!(tag, tag_of(other));
    let names = TagNames::new(3);
    names.tag_of(one);
    assert_eq!((names.name(tag).as_deref(), names.collisions()), (Some(one), 0));
    names.tag_of(other);
    names.tag_of(other);
    assert_eq!((names.name(tag), names.collisions()), (None, 1));
    // The limit: once the older one is overwritten, the newer one is all that is known.
    names.tag_of("a");
    assert_eq!(names.name(tag), None);
    names.tag_of("b");
    assert_eq!((names.name(tag).as_deref(), names.collisions()), (Some(other), 1));
}

#[test]
fn tags_without_a_text_have_no_name() {
    let names = TagNames::new(8);
    assert!([0, 1, MAX_PAYLOAD, u64::MAX].iter().all(|tag| names.name(*tag).is_none()));
    let tag = names.tag_of("ORD-1");
    assert_eq!(names.name(tag ^ 1 << 45), None, "the same lower bits");
    // Recording keeps 46 bits of a tag.
    assert_eq!(names.name(tag | 1 << 46).as_deref(), Some("ORD-1"));
    assert!(TagNames::new(0).name(tag).is_none());
    assert_eq!(TagNames::new(usize::MAX).0.slots.len(), MAX_NAMES);
}

#[test]
fn a_slot_that_is_being_overwritten_has_no_text() {
    let [one, other] = [TagNames::new(1), TagNames::new(1)];
    let [slot, new] = [&one.0.slots[0], &other.0.slots[0]];
    let (old_name, new_name) = (TagName::of(&"old".repeat(13)), TagName::of(&"new".repeat(13)));
    new.write(2, 1, 6, &new_name);
    assert!(slot.read(0).is_none() && slot.read(1).is_none(), "nothing was written");
    for written in 1..WORDS {
        slot.write(1, 0, 5, &old_name);
        assert_eq!(slot.read(1).map(|entry| (entry.tag, entry.name)), Some((5, old_name)));
        assert!(slot.read(2).is_none(), "another position");
        // The writer has come this far.
        for (to, from) in slot.0.iter().zip(&new.0).take(written) {
            to.iter().zip(from).for_each(|(to, from)| to.store(from.load(Relaxed), Relaxed));
        }
        assert!([1, 2].iter().all(|position| slot.read(*position).is_none()), "{written}");
    }
}

#[test]
fn threads_never_read_a_text_that_was_not_stored() {
    const THREADS: u32 = 4;
    // Texts that fill their slots, in a table so small that threads meet in a slot.
    let text = |number: u32| format!("{number:010}").repeat(4);
    let names = TagNames::new(2);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let names = &names;
            scope.spawn(move || {
                for round in 0..3_000 {
                    names.tag_of(&text(round % 8 * THREADS + thread));
                    for other in 0..8 * THREADS {
                        let other = text(other);
                        let found = names.name(tag_of(&other));
                        assert!(found.as_ref().is_none_or(|found| *found == other), "{found:?}");
                    }
                }
            });
        }
    });
    // At rest, what is stored is found.
    assert_eq!(names.name(names.tag_of("last")).as_deref(), Some("last"));
}
