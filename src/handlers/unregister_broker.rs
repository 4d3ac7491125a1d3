//! UnregisterBroker (64), version 0.
//!
//! A broker that is not registered is BROKER_ID_NOT_REGISTERED (102). Kafka takes the registration of a running broker
//! away as well, and its partitions lose their leader until it starts anew; here a broker that runs is refused with
//! INVALID_REQUEST (42), since the cluster would be left without any. Source: `ReplicationControlManager`.

use std::sync::Arc;

use kafka_protocol::messages::{UnregisterBrokerRequest, UnregisterBrokerResponse};
use protocol::error_code::ErrorCode;

use crate::handlers::context::RequestContext;
use crate::handlers::reply::{Reply, message};
use crate::metadata::image::MetadataImage;

/// Answers from the image.
pub(super) fn handle(cx: &Arc<RequestContext>, request: UnregisterBrokerRequest) -> Reply {
    cx.reply(&answer(&cx.services.publisher.current(), request.broker_id.0))
}

fn answer(image: &MetadataImage, broker: i32) -> UnregisterBrokerResponse {
    let (code, why) = if image.brokers.get(broker).is_none() {
        let why = format!("Broker ID {broker} is not currently registered");
        (ErrorCode::BrokerIdNotRegistered, why)
    } else {
        let why = format!("broker {broker} is running: only a broker that has stopped for good can be unregistered");
        (ErrorCode::InvalidRequest, why)
    };
    UnregisterBrokerResponse::default()
        .with_error_code(code.code())
        .with_error_message(Some(message(why)))
}

#[cfg(test)]
mod tests {
    use protocol::encode::encode_response;

    use super::*;
    use crate::metadata::apply::tests::{image_of, start_of};

    #[test]
    fn strangers_are_unknown_and_the_running_broker_stays() {
        let image = image_of(&[start_of(1, 1, true)]);
        for (broker, code) in [(1, 42), (2, 102), (-1, 102)] {
            let response = answer(&image, broker);
            assert_eq!(response.error_code, code);
            encode_response(64, 0, 1, &response).expect("fields of the version");
        }
    }
}
