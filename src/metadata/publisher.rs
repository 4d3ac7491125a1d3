//! Publishes images: whoever loads [`MetadataPublisher::current`] sees metadata that this node already serves.
//!
//! Invariants: images are published in log order; an image becomes current only after the listener has done what it
//! asks for (opened and removed partitions), so a client that sees a topic can use it; when the listener is slow,
//! images in between are skipped, never queued.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::image::MetadataImage;

/// A future that borrows from its maker.
pub type ListenerFuture<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Brings this node in line with a new image before others see it.
pub trait ImageListener: Send + Sync + Debug {
    /// Called for one image at a time, in log order, with the image of the previous call.
    fn on_image<'a>(&'a self, old: &'a Arc<MetadataImage>, new: &'a Arc<MetadataImage>) -> ListenerFuture<'a>;
}

/// See the module.
#[derive(Debug)]
pub struct MetadataPublisher {
    current: ArcSwap<MetadataImage>,
    /// `applied_index` of the current image; `None` once nothing will be published any more.
    published: watch::Sender<Option<u64>>,
}

/// Nothing is published any more: the node is stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("metadata is no longer published: the broker is stopping")]
pub struct PublisherStopped;

impl Default for MetadataPublisher {
    fn default() -> Self {
        Self::new()
    }
}

impl MetadataPublisher {
    /// Starts with an empty image.
    pub fn new() -> Self {
        Self {
            current: ArcSwap::from_pointee(MetadataImage::default()),
            published: watch::Sender::new(Some(0)),
        }
    }

    /// The newest published image.
    pub fn current(&self) -> Arc<MetadataImage> {
        self.current.load_full()
    }

    /// Waits until an image that contains the log up to `index` is current.
    pub async fn wait_for(&self, index: u64) -> Result<(), PublisherStopped> {
        let mut published = self.published.subscribe();
        let state = published
            .wait_for(|published| published.is_none_or(|at| at >= index))
            .await
            .expect("the sender lives in self");
        if state.is_some() { Ok(()) } else { Err(PublisherStopped) }
    }

    /// Publishes one image. Only the task that runs [`Self::run`], or the start before it, may call this.
    pub async fn publish(&self, new: Arc<MetadataImage>, listener: &dyn ImageListener) {
        let old = self.current();
        assert!(
            new.applied_index >= old.applied_index,
            "images are published in log order"
        );
        listener.on_image(&old, &new).await;
        let index = new.applied_index;
        self.current.store(new);
        self.published.send_replace(Some(index));
    }

    /// Publishes what the state machine applies until it is gone.
    pub async fn run(&self, mut images: watch::Receiver<Arc<MetadataImage>>, listener: Arc<dyn ImageListener>) {
        loop {
            let newest = Arc::clone(&images.borrow_and_update());
            if newest.applied_index > self.current.load().applied_index {
                self.publish(newest, listener.as_ref()).await;
            }
            if images.changed().await.is_err() {
                self.published.send_replace(None);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Debug)]
    struct Recorder {
        steps: Mutex<Vec<(u64, u64)>>,
        gate: tokio::sync::Semaphore,
    }

    impl ImageListener for Recorder {
        fn on_image<'a>(&'a self, old: &'a Arc<MetadataImage>, new: &'a Arc<MetadataImage>) -> ListenerFuture<'a> {
            Box::pin(async move {
                self.gate.acquire().await.expect("open").forget();
                self.steps
                    .lock()
                    .expect("no panic")
                    .push((old.applied_index, new.applied_index));
            })
        }
    }

    fn image(applied_index: u64) -> Arc<MetadataImage> {
        Arc::new(MetadataImage {
            applied_index,
            ..MetadataImage::default()
        })
    }

    #[tokio::test]
    async fn an_image_is_current_only_after_the_listener_is_done() {
        let publisher = Arc::new(MetadataPublisher::new());
        let listener = Arc::new(Recorder {
            steps: Mutex::default(),
            gate: tokio::sync::Semaphore::new(0),
        });
        let (sender, images) = watch::channel(image(0));
        let task = tokio::spawn({
            let (publisher, listener) = (Arc::clone(&publisher), Arc::clone(&listener));
            async move { publisher.run(images, listener).await }
        });
        sender.send_replace(image(3));
        tokio::task::yield_now().await;
        assert_eq!(publisher.current().applied_index, 0, "the listener still works");
        sender.send_replace(image(4));
        sender.send_replace(image(5));
        listener.gate.add_permits(10);
        publisher.wait_for(5).await.expect("running");
        assert_eq!(publisher.current().applied_index, 5);
        assert_eq!(
            *listener.steps.lock().expect("no panic"),
            [(0, 3), (3, 5)],
            "4 was skipped"
        );
        drop(sender);
        task.await.expect("no panic");
        assert_eq!(publisher.wait_for(6).await, Err(PublisherStopped));
    }
}
