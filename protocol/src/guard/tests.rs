//! Tests of the guard: what it accepts is what the decoder decodes.

use super::*;
use kafka_protocol::messages::ApiKey;

#[test]
fn the_table_has_every_request_of_the_decoder_in_its_versions() {
    let theirs: Vec<_> = (0..200)
        .filter_map(|key| ApiKey::try_from(key).ok())
        .map(|key| {
            let range = key.valid_versions();
            let last = match key {
                // The response of version 6, which is unstable, is there, the request is not.
                ApiKey::InitProducerId => 5,
                // Read with the fields of version 10.
                ApiKey::ListOffsets => 11,
                // Read with the fields of version 4.
                ApiKey::DescribeLogDirs => 5,
                // Read by this crate.
                ApiKey::WriteTxnMarkers => 2,
                _ => range.max,
            };
            let first = match key {
                // Read by this crate.
                ApiKey::ListOffsets | ApiKey::CreateTopics | ApiKey::DeleteTopics | ApiKey::DescribeConfigs => 0,
                _ => range.min,
            };
            (key as i16, first, last)
        })
        .collect();
    assert_eq!(layout::ranges(), theirs);
}

#[test]
fn every_served_version_has_a_layout() {
    for api in crate::api::APIS {
        for version in api.min_version..=api.max_version {
            assert!(layout(api.key, version).is_some(), "{} v{version}", api.name);
        }
    }
}

#[test]
fn flexible_versions_agree_with_the_decoder() {
    for (api_key, first, last) in layout::ranges() {
        let key = ApiKey::try_from(api_key).expect("in the table");
        for version in first..=last {
            let flexible = layout(api_key, version).expect("in the table").flexible;
            assert_eq!(flexible, key.request_header_version(version) == 2, "{key:?} v{version}");
        }
    }
}

#[test]
fn no_element_is_free() {
    fn visit(shape: &Shape, flexible: bool) {
        assert!(shape.min_bytes(flexible) > 0);
        match shape {
            Shape::Array { element, .. } => visit(element, flexible),
            Shape::Struct(layout) | Shape::NullableStruct(layout) => {
                layout.fields.iter().for_each(|field| visit(field, flexible));
            }
            _ => {}
        }
    }
    for (api_key, first, last) in layout::ranges() {
        for version in first..=last {
            let layout = layout(api_key, version).expect("in the table");
            layout.fields.iter().for_each(|field| visit(field, layout.flexible));
        }
    }
}

/// FindCoordinator v4: key type, array of one-byte strings, no tagged fields.
fn find_coordinator(count: usize) -> Vec<u8> {
    let mut body = vec![0];
    let mut length = count as u32 + 1;
    while length >= 0x80 {
        body.push(length as u8 | 0x80);
        length >>= 7;
    }
    body.push(length as u8);
    body.resize(body.len() + count, 1);
    body.push(0);
    body
}

#[test]
fn elements_are_limited() {
    assert_eq!(check(10, 4, &find_coordinator(MAX_ELEMENTS)), Ok(()));
    assert_eq!(
        check(10, 4, &find_coordinator(MAX_ELEMENTS + 1)),
        Err(DecodeError::TooManyElements)
    );
}

#[test]
fn numbers_are_limited_over_the_whole_request() {
    // OffsetFetch v1: group, topics with their partitions' numbers.
    let body = |counts: &[usize]| {
        let mut body = vec![0, 1, b'g'];
        body.extend((counts.len() as u32).to_be_bytes());
        for count in counts {
            body.extend([0, 1, b't']);
            body.extend((*count as u32).to_be_bytes());
            body.resize(body.len() + 4 * count, 0);
        }
        body
    };
    assert_eq!(check(9, 1, &body(&[MAX_NUMBERS - 1, 1])), Ok(()));
    assert_eq!(check(9, 1, &body(&[MAX_NUMBERS, 1])), Err(DecodeError::TooManyElements));
}

#[test]
fn unknown_tagged_fields_are_limited_over_the_whole_request() {
    // DescribeCluster v0: one bool, then tagged fields.
    let body = |count: u32| {
        let mut body = vec![0, count as u8 | 0x80, (count >> 7) as u8];
        for _ in 0..count {
            body.extend([9, 0]);
        }
        body
    };
    assert_eq!(check(60, 0, &body(MAX_UNKNOWN_TAGGED_FIELDS as u32)), Ok(()));
    let too_many = body(MAX_UNKNOWN_TAGGED_FIELDS as u32 + 1);
    assert_eq!(check(60, 0, &too_many), Err(DecodeError::TooManyTaggedFields));
}

#[test]
fn a_known_tagged_field_takes_exactly_its_size() {
    // Fetch v12 without topics: cluster id is tagged field 0.
    let body = |tagged: &[u8]| {
        let mut body = vec![0; 4 + 4 + 4 + 4 + 1 + 4 + 4];
        body.extend([1, 1, 1]);
        body.extend_from_slice(tagged);
        body
    };
    assert_eq!(check(1, 12, &body(&[1, 0, 3, 3, b'i', b'd'])), Ok(()));
    for size in [0, 2, 4] {
        let result = check(1, 12, &body(&[1, 0, size, 3, b'i', b'd']));
        assert_eq!(result, Err(DecodeError::TagSizeMismatch { tag: 0 }), "announced {size}");
    }
    // Replica state is tagged field 1 from version 15 on.
    assert_eq!(check(1, 12, &body(&[1, 1, 0])), Err(DecodeError::InvalidTag { tag: 1 }));
    assert_eq!(check(1, 12, &body(&[1, 2, 1, 9])), Ok(()));
}

#[test]
fn a_nullable_struct_has_one_of_two_presence_bytes() {
    // DescribeTopicPartitions v0: topics, limit, cursor, tagged fields.
    assert_eq!(check(75, 0, &[1, 0, 0, 0, 9, 0xff, 0]), Ok(()));
    assert_eq!(check(75, 0, &[1, 0, 0, 0, 9, 1, 2, b't', 0, 0, 0, 0, 0, 0]), Ok(()));
    assert!(matches!(
        check(75, 0, &[1, 0, 0, 0, 9, 0, 0]),
        Err(DecodeError::InvalidPresence { .. })
    ));
}

#[test]
fn strings_are_text() {
    assert!(matches!(
        check(10, 0, &[0, 1, 0xc0]),
        Err(DecodeError::InvalidUtf8 { .. })
    ));
    assert_eq!(check(10, 0, &[0, 1, b'g']), Ok(()));
    assert!(matches!(
        check(10, 0, &[0xff, 0xff]),
        Err(DecodeError::UnexpectedNull { .. })
    ));
}
