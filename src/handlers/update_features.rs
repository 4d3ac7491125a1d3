//! UpdateFeatures (57), versions 0-2.
//!
//! Versions: 0 `allow_downgrade`, 1 the upgrade type and `validate_only`, 2 no results by feature. All features get their
//! levels or none does; the reason is the error of the whole, INVALID_UPDATE_VERSION (95). `timeout_ms` bounds the wait.
//! Which features there are: `metadata::features`; the checks: `controller::features`. Source: `QuorumController`.

use std::sync::Arc;

use kafka_protocol::messages::update_features_request::FeatureUpdateKey;
use kafka_protocol::messages::update_features_response::UpdatableFeatureResult;
use kafka_protocol::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};
use protocol::error_code::ErrorCode;

use crate::controller::features::{FeatureSpec, UpgradeType};
use crate::handlers::context::RequestContext;
use crate::handlers::create_topics::timeout;
use crate::handlers::reply::{Reply, message};

/// Hands the levels to the controller.
pub(super) fn handle(cx: &Arc<RequestContext>, request: UpdateFeaturesRequest) -> Reply {
    let context = Arc::clone(cx);
    cx.later(async move {
        let version = context.api_version;
        let specs = request.feature_updates.iter().map(|update| spec_of(update, version));
        let update = context
            .services
            .controller
            .update_features(specs.collect(), request.validate_only);
        match tokio::time::timeout(timeout(request.timeout_ms), update).await {
            Ok(Ok(Ok(()))) => success(&request, version),
            Ok(Ok(Err(why))) => refusal(ErrorCode::InvalidUpdateVersion, why),
            Ok(Err(error)) => refusal((&error).into(), error.to_string()),
            Err(_) => refusal(
                ErrorCode::RequestTimedOut,
                ErrorCode::RequestTimedOut.message().to_owned(),
            ),
        }
    })
}

fn spec_of(update: &FeatureUpdateKey, version: i16) -> FeatureSpec {
    let upgrade_type = match version {
        0 if update.allow_downgrade => UpgradeType::SafeDowngrade,
        0 => UpgradeType::Upgrade,
        _ => UpgradeType::from_code(update.upgrade_type),
    };
    FeatureSpec {
        name: update.feature.to_string(),
        level: update.max_version_level,
        upgrade_type,
    }
}

fn success(request: &UpdateFeaturesRequest, version: i16) -> UpdateFeaturesResponse {
    let mut response = UpdateFeaturesResponse::default().with_error_message(None);
    if version <= 1 {
        let result = |update: &FeatureUpdateKey| {
            UpdatableFeatureResult::default()
                .with_feature(update.feature.clone())
                .with_error_message(None)
        };
        response.results = request.feature_updates.iter().map(result).collect();
    }
    response
}

fn refusal(code: ErrorCode, why: String) -> UpdateFeaturesResponse {
    UpdateFeaturesResponse::default()
        .with_error_code(code.code())
        .with_error_message(Some(message(why)))
}

#[cfg(test)]
mod tests {
    use kafka_protocol::protocol::StrBytes;
    use protocol::encode::encode_response;

    use super::*;

    fn update(upgrade_type: i8, allow_downgrade: bool) -> FeatureUpdateKey {
        FeatureUpdateKey::default()
            .with_feature(StrBytes::from_static_str("metadata.version"))
            .with_max_version_level(30)
            .with_upgrade_type(upgrade_type)
            .with_allow_downgrade(allow_downgrade)
    }

    #[test]
    fn the_direction_is_read_from_where_the_version_has_it() {
        let direction = |update, version| spec_of(&update, version).upgrade_type;
        assert_eq!(direction(update(1, false), 0), UpgradeType::Upgrade);
        assert_eq!(direction(update(1, true), 0), UpgradeType::SafeDowngrade);
        assert_eq!(direction(update(3, false), 1), UpgradeType::UnsafeDowngrade);
        assert_eq!(direction(update(0, false), 2), UpgradeType::Unknown);
        assert_eq!(spec_of(&update(1, false), 2).level, 30);
    }

    #[test]
    fn every_version_can_be_encoded() {
        let request = UpdateFeaturesRequest::default().with_feature_updates(vec![update(1, false)]);
        for version in 0..=2 {
            let done = success(&request, version);
            assert_eq!((done.error_code, done.results.len()), (0, usize::from(version <= 1)));
            encode_response(57, version, 1, &done).expect("fields of the version");
            let refused = refusal(ErrorCode::InvalidUpdateVersion, "é".repeat(40_000));
            assert_eq!((refused.error_code, refused.results.len()), (95, 0));
            encode_response(57, version, 1, &refused).expect("fields of the version");
        }
    }
}
