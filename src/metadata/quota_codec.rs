//! The durable form of quota entities and their bounds, in commands and in images.
//!
//! Invariant: what is read satisfies the invariants of [`super::image::quotas`].

use std::net::IpAddr;

use super::codec::{CodecError, Reader, Writer};
use super::command::QuotaChange;
use super::image::quotas::{EntityName, QuotaBound, QuotaEntity, QuotaImage, QuotaKey};

const USER: u8 = 1;
const CLIENT_ID: u8 = 2;
const USER_CLIENT_ID: u8 = 3;
const IP: u8 = 4;

fn encode_entity(out: &mut Writer, entity: &QuotaEntity) {
    let kind = match entity {
        QuotaEntity::User(_) => USER,
        QuotaEntity::ClientId(_) => CLIENT_ID,
        QuotaEntity::UserClientId(..) => USER_CLIENT_ID,
        QuotaEntity::Ip(_) => IP,
    };
    out.u8(kind);
    for (_, name) in entity.parts() {
        out.option(name.name(), Writer::str);
    }
}

fn decode_entity(input: &mut Reader<'_>) -> Result<QuotaEntity, CodecError> {
    let name = |input: &mut Reader<'_>| {
        let name = input.option(|input| input.str().map(str::to_owned))?;
        Ok(EntityName::from(name))
    };
    Ok(match input.u8()? {
        USER => QuotaEntity::User(name(input)?),
        CLIENT_ID => QuotaEntity::ClientId(name(input)?),
        USER_CLIENT_ID => QuotaEntity::UserClientId(name(input)?, name(input)?),
        IP => QuotaEntity::Ip(name(input)?),
        found => {
            return Err(CodecError::Unknown {
                what: "a quota entity",
                found: u64::from(found),
            });
        }
    })
}

fn encode_address(out: &mut Writer, address: IpAddr) {
    match address {
        IpAddr::V4(address) => out.bytes(&address.octets()),
        IpAddr::V6(address) => out.bytes(&address.octets()),
    }
}

fn decode_address(input: &mut Reader<'_>) -> Result<IpAddr, CodecError> {
    let bytes = input.bytes()?;
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let address = v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
    address.map_err(|_| CodecError::BadValue("address"))
}

fn quota_key_code(key: QuotaKey) -> u8 {
    match key {
        QuotaKey::ProducerByteRate => 1,
        QuotaKey::ConsumerByteRate => 2,
        QuotaKey::RequestPercentage => 3,
        QuotaKey::ControllerMutationRate => 4,
        QuotaKey::ConnectionCreationRate => 5,
    }
}

fn encode_quota_key(out: &mut Writer, key: QuotaKey) {
    out.u8(quota_key_code(key));
}

fn decode_quota_key(input: &mut Reader<'_>) -> Result<QuotaKey, CodecError> {
    let found = input.u8()?;
    let key = QuotaKey::ALL.into_iter().find(|key| quota_key_code(*key) == found);
    key.ok_or_else(|| CodecError::Unknown {
        what: "a quota",
        found: u64::from(found),
    })
}

fn encode_bound(out: &mut Writer, bound: QuotaBound) {
    out.bytes(&bound.0.to_be_bytes());
}

fn decode_bound(input: &mut Reader<'_>) -> Result<QuotaBound, CodecError> {
    let bytes = <[u8; 8]>::try_from(input.bytes()?).map_err(|_| CodecError::BadValue("bound"))?;
    match f64::from_be_bytes(bytes) {
        bound if bound > 0.0 => Ok(QuotaBound(bound)),
        _ => Err(CodecError::BadValue("bound")),
    }
}

pub(super) fn encode_quota_change(out: &mut Writer, change: &QuotaChange) {
    encode_entity(out, &change.entity);
    out.option(change.address, encode_address);
    out.list(&change.values, |out, (key, bound)| {
        encode_quota_key(out, *key);
        out.option(*bound, encode_bound);
    });
}

pub(super) fn decode_quota_change(input: &mut Reader<'_>) -> Result<QuotaChange, CodecError> {
    let entity = decode_entity(input)?;
    let address = input.option(decode_address)?;
    let values = input.list(|input| Ok((decode_quota_key(input)?, input.option(decode_bound)?)))?;
    if values.iter().any(|(key, _)| !key.suits(&entity)) {
        return Err(CodecError::BadValue("a quota of its entity"));
    }
    Ok(QuotaChange {
        entity,
        address,
        values: values.into_iter().collect(),
    })
}

/// What an image holds of an entity.
pub(super) fn encode_quotas(out: &mut Writer, entity: &QuotaEntity, quotas: &QuotaImage) {
    encode_entity(out, entity);
    out.option(quotas.address, encode_address);
    out.list(&quotas.values, |out, (key, bound)| {
        encode_quota_key(out, *key);
        encode_bound(out, *bound);
    });
}

pub(super) fn decode_quotas(input: &mut Reader<'_>) -> Result<(QuotaEntity, QuotaImage), CodecError> {
    let entity = decode_entity(input)?;
    let address = input.option(decode_address)?;
    let values = input.list(|input| Ok((decode_quota_key(input)?, decode_bound(input)?)))?;
    if values.iter().any(|(key, _)| !key.suits(&entity)) {
        return Err(CodecError::BadValue("a quota of its entity"));
    }
    let values = values.into_iter().collect();
    Ok((entity, QuotaImage { address, values }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<QuotaChange, CodecError> {
        let mut input = Reader::new(bytes);
        let change = decode_quota_change(&mut input)?;
        input.finish().map(|()| change)
    }

    #[test]
    fn a_change_has_these_bytes_for_ever() {
        let change = QuotaChange {
            entity: QuotaEntity::UserClientId(EntityName::Named("u".to_owned()), EntityName::Default),
            address: None,
            values: [
                (QuotaKey::ProducerByteRate, Some(QuotaBound(1.0))),
                (QuotaKey::RequestPercentage, None),
            ]
            .into(),
        };
        let mut out = Writer::new();
        encode_quota_change(&mut out, &change);
        let bytes = out.into_bytes();
        assert_eq!(
            bytes,
            [3, 1, 1, b'u', 0, 0, 2, 1, 1, 8, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0, 3, 0]
        );
        assert_eq!(read(&bytes), Ok(change));
    }

    #[test]
    fn what_no_proposer_writes_is_refused() {
        let of_ip = [4, 0, 0, 1, 1, 0];
        assert_eq!(read(&of_ip), Err(CodecError::BadValue("a quota of its entity")));
        let kind = CodecError::Unknown {
            what: "a quota entity",
            found: 9,
        };
        assert_eq!(read(&[9, 0, 0, 0]), Err(kind));
        let key = CodecError::Unknown {
            what: "a quota",
            found: 6,
        };
        assert_eq!(read(&[1, 0, 0, 1, 6, 0]), Err(key));
        let zero = [1, 0, 0, 1, 1, 1, 8, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(read(&zero), Err(CodecError::BadValue("bound")));
        let address = [4, 0, 1, 3, 1, 1, 1, 0];
        assert_eq!(read(&address), Err(CodecError::BadValue("address")));
    }
}
