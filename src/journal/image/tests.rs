use proptest::prelude::*;

use super::*;

const DOUBT: i64 = 10;

fn at(at: i64) -> Moment {
    Moment { at, doubt: DOUBT }
}

fn deadlines() -> impl Strategy<Value = Deadline> {
    prop_oneof![
        Just(Deadline::Unknown),
        Just(Deadline::Never),
        (0..200i64).prop_map(Deadline::At),
    ]
}

/// Elements named a, b and c, each there, absent or unknown.
fn collections<T: Held + std::fmt::Debug>(
    held: impl Strategy<Value = T>,
) -> impl Strategy<Value = Collection<T>> {
    let element = prop_oneof![
        held.prop_map(Element::There),
        Just(Element::Absent),
        Just(Element::Unknown),
    ];
    (any::<bool>(), proptest::collection::vec(element, 3)).prop_map(|(is_whole, elements)| {
        let mut made = match is_whole {
            true => Collection::empty(),
            false => Collection::unknown(),
        };
        for (name, element) in ["a", "b", "c"].iter().zip(elements) {
            made.set(name.as_bytes(), element);
        }
        made
    })
}

fn values() -> impl Strategy<Value = Value> {
    let texts = || proptest::option::of("[xy]".prop_map(String::into_bytes));
    let field = (texts(), deadlines()).prop_map(|(value, deadline)| Field { value, deadline });
    let score = proptest::option::of((0..3u8).prop_map(f64::from));
    prop_oneof![
        Just(Value::Unknown),
        "[xy]".prop_map(|text| Value::String(text.into_bytes())),
        collections(field).prop_map(Value::Hash),
        collections(Just(())).prop_map(Value::Set),
        collections(score).prop_map(Value::SortedSet),
    ]
}

fn images() -> impl Strategy<Value = Image> {
    let parts = || (values(), deadlines()).prop_map(|(value, deadline)| Parts { value, deadline });
    prop_oneof![
        Just(Image::Absent),
        parts().prop_map(Image::Maybe),
        parts().prop_map(Image::There),
    ]
}

/// Says no more than `other`.
fn is_weaker(image: &Image, other: &Image) -> bool {
    image.clone().common(other.clone()) == *image
}

proptest! {
    #[test]
    fn what_two_have_in_common_is_said_by_both(one in images(), other in images()) {
        let common = one.clone().common(other.clone());
        prop_assert!(is_weaker(&common, &one), "{:?}", common);
        prop_assert!(is_weaker(&common, &other), "{:?}", common);
        prop_assert_eq!(&common, &other.common(one.clone()));
        prop_assert_eq!(one.clone().common(one.clone()), one.clone());
        prop_assert!(is_weaker(&Image::UNKNOWN, &one));
    }

    /// To look in between costs knowledge at most.
    #[test]
    fn time_that_passes_in_two_steps_says_no_more(
        image in images(),
        first in 0..200i64,
        then in 0..200i64,
    ) {
        let twice = image.at(at(first)).at(at(first + then)).into_owned();
        let once = image.at(at(first + then)).into_owned();
        prop_assert!(is_weaker(&twice, &once), "{:?}, not {:?}", twice, once);
        prop_assert_eq!(once.at(at(first + then)).into_owned(), once.clone());
    }
}

fn hash(fields: &[(&str, Deadline)]) -> Image {
    let mut held = Collection::empty();
    for &(name, deadline) in fields {
        let value = Some(b"v".to_vec());
        held.set(name.as_bytes(), Element::There(Field { value, deadline }));
    }
    Image::There(Parts {
        value: Value::Hash(held),
        deadline: Deadline::Never,
    })
}

#[test]
fn a_deadline_takes_the_key() {
    let string = |deadline| {
        let value = Value::String(b"v".to_vec());
        Image::There(Parts { value, deadline })
    };
    let image = string(Deadline::At(100));
    assert_eq!(*image.at(at(89)), image);
    // It may have passed, or not.
    assert_eq!(*image.at(at(90)), image.clone().in_doubt());
    assert_eq!(*image.at(at(109)), image.clone().in_doubt());
    assert_eq!(*image.at(at(110)), Image::Absent);
    let image = string(Deadline::Unknown);
    assert_eq!(*image.at(at(0)), image.clone().in_doubt());
    let image = string(Deadline::Never);
    assert_eq!(*image.at(at(i64::MAX)), image);
}

#[test]
fn fields_end_one_by_one() {
    let both = hash(&[("a", Deadline::At(100)), ("b", Deadline::At(200))]);
    assert_eq!(*both.at(at(50)), both);
    assert_eq!(*both.at(at(150)), hash(&[("b", Deadline::At(200))]));
    // The server may count the key as there for a while.
    assert_eq!(*both.at(at(300)), hash(&[]).in_doubt());
    let lasting = hash(&[("a", Deadline::At(100)), ("b", Deadline::Never)]);
    assert_eq!(*lasting.at(at(300)), hash(&[("b", Deadline::Never)]));
}

#[test]
fn a_key_of_unknown_value_may_be_a_hash_that_ends_by_itself() {
    let image = Image::There(Parts {
        value: Value::Unknown,
        deadline: Deadline::Never,
    });
    assert_eq!(*image.at(at(0)), image.clone().in_doubt());
}
