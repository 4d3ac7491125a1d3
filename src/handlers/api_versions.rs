//! ApiVersions (18), versions 0-4.
//!
//! Answers the API table. Version 3 added the client's software name and version, which must match Kafka's pattern
//! (INVALID_REQUEST (42) else, the connection stays). An unknown version is answered in version 0 with
//! UNSUPPORTED_VERSION (35) and this API's own range only, so that the client can ask again (KIP-511); the response
//! header is version 0 in every version.
//! Version 3 also tells the features of this build and the levels that the cluster lives by, with an epoch that rises
//! with the metadata; versions before 4 leave out what can be at level 0, which old Java clients cannot read (KIP-584).

use std::sync::Arc;

use kafka_protocol::messages::api_versions_response::{
    ApiVersion, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest};
use kafka_protocol::protocol::StrBytes;
use protocol::api::{self, ApiSpec};
use protocol::encode::encode_response;
use protocol::error_code::ErrorCode;

use crate::handlers::context::RequestContext;
use crate::handlers::reply::{Reply, ResponseFrame};
use crate::metadata::features::{self, SupportedFeature};
use crate::metadata::image::MetadataImage;

/// Answers the API table.
pub fn handle(cx: &Arc<RequestContext>, request: ApiVersionsRequest) -> Reply {
    let response = ApiVersionsResponse::default();
    let named = cx.api_version >= 3;
    if named && !(is_software_name(&request.client_software_name) && is_software_name(&request.client_software_version))
    {
        return cx.reply(&response.with_error_code(ErrorCode::InvalidRequest.code()));
    }
    let response = response.with_api_keys(api::APIS.iter().map(listed).collect());
    if !named {
        return cx.reply(&response);
    }
    let image = cx.services.publisher.current();
    cx.reply(&with_features(response, features::SUPPORTED, &image, cx.api_version))
}

fn with_features(
    response: ApiVersionsResponse,
    supported: &[SupportedFeature],
    image: &MetadataImage,
    version: i16,
) -> ApiVersionsResponse {
    let name = |feature: &SupportedFeature| StrBytes::from_static_str(feature.name);
    let told = supported.iter().filter(|feature| version >= 4 || feature.min_level > 0);
    let told = told.map(|feature| {
        SupportedFeatureKey::default()
            .with_name(name(feature))
            .with_min_version(feature.min_level)
            .with_max_version(feature.max_level)
    });
    let finalized = supported.iter().filter_map(|feature| {
        let level = feature.level_in(image);
        let key = FinalizedFeatureKey::default()
            .with_name(name(feature))
            .with_min_version_level(level)
            .with_max_version_level(level);
        (level > 0).then_some(key)
    });
    response
        .with_supported_features(told.collect())
        .with_finalized_features_epoch(i64::try_from(image.applied_index).unwrap_or(i64::MAX))
        .with_finalized_features(finalized.collect())
}

/// The answer to a version of this API that is not known.
///
/// # Panics
/// Never: the response is a constant in a version that exists.
pub fn unsupported_version(correlation_id: i32) -> ResponseFrame {
    let own = api::find(ApiKey::ApiVersions as i16).map(listed).into_iter().collect();
    let response = ApiVersionsResponse::default()
        .with_error_code(ErrorCode::UnsupportedVersion.code())
        .with_api_keys(own);
    let frame = encode_response(ApiKey::ApiVersions as i16, 0, correlation_id, &response);
    ResponseFrame::Whole(frame.expect("version 0 has all fields that are set"))
}

fn listed(api: &ApiSpec) -> ApiVersion {
    ApiVersion::default()
        .with_api_key(api.key)
        .with_min_version(api.listed_min_version)
        .with_max_version(api.max_version)
}

/// Kafka's pattern: letters and digits at both ends, '-' and '.' between (`ApiVersionsRequest.isValid`).
fn is_software_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    let bytes = name.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(first), Some(last)) => {
            first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() && bytes.iter().copied().all(inner)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names_follow_kafkas_pattern() {
        for good in ["librdkafka", "a", "apache-kafka-java", "1.2.3-rc1"] {
            assert!(is_software_name(good), "{good}");
        }
        for bad in ["", "-a", "a-", "a b", "kafka!", ".1"] {
            assert!(!is_software_name(bad), "{bad}");
        }
    }

    #[test]
    fn features_are_told_as_the_version_can() {
        let feature = |name, min_level, initial_level| SupportedFeature {
            name,
            min_level,
            max_level: 30,
            initial_level,
        };
        let supported = [feature("always", 30, 30), feature("off", 0, 0), feature("on", 0, 2)];
        let image = MetadataImage {
            applied_index: 12,
            ..MetadataImage::default()
        };
        for (version, told) in [(3, &["always"][..]), (4, &["always", "off", "on"][..])] {
            let response = with_features(ApiVersionsResponse::default(), &supported, &image, version);
            let names: Vec<_> = response
                .supported_features
                .iter()
                .map(|feature| &*feature.name)
                .collect();
            assert_eq!(names, told);
            let finalized: Vec<_> = response
                .finalized_features
                .iter()
                .map(|feature| (&*feature.name, feature.min_version_level, feature.max_version_level))
                .collect();
            assert_eq!(finalized, [("always", 30, 30), ("on", 2, 2)]);
            assert_eq!(response.finalized_features_epoch, 12);
            encode_response(18, version, 1, &response).expect("fields of the version");
        }
    }
}
