//! ApiVersions (18), versions 0-4.
//!
//! Answers the API table. Version 3 added the client's software name and version, which must match Kafka's pattern
//! (INVALID_REQUEST (42) else, the connection stays). An unknown version is answered in version 0 with
//! UNSUPPORTED_VERSION (35) and this API's own range only, so that the client can ask again (KIP-511); the response
//! header is version 0 in every version. No features are reported: the ones that exist belong to what is not here yet.

use std::sync::Arc;

use kafka_protocol::messages::api_versions_response::{ApiVersion, ApiVersionsResponse};
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest};
use protocol::api::{self, ApiSpec};
use protocol::encode::encode_response;
use protocol::error_code::ErrorCode;

use crate::handlers::context::RequestContext;
use crate::handlers::reply::{Reply, ResponseFrame};

/// Answers the API table.
pub fn handle(cx: &Arc<RequestContext>, request: ApiVersionsRequest) -> Reply {
    let response = ApiVersionsResponse::default();
    let named = cx.api_version >= 3;
    if named && !(is_software_name(&request.client_software_name) && is_software_name(&request.client_software_version))
    {
        return cx.reply(&response.with_error_code(ErrorCode::InvalidRequest.code()));
    }
    cx.reply(&response.with_api_keys(api::APIS.iter().map(listed).collect()))
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
}
