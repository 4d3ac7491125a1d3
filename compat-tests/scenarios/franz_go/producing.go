// A producer of franz-go: a client that only produces.
package main

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

type franzProducer struct {
	*kgo.Client
	patience time.Duration
	failed   kgo.FirstErrPromise // of what was sent since the last flush
}

// chooser takes the partition that a record names, or else the library's own choice.
type chooser struct{ kgo.Partitioner }

type topicChooser struct{ kgo.TopicPartitioner }

func (c chooser) ForTopic(topic string) kgo.TopicPartitioner {
	return topicChooser{c.Partitioner.ForTopic(topic)}
}

func (topicChooser) RequiresConsistency(*kgo.Record) bool { return true }

func (c topicChooser) Partition(record *kgo.Record, partitions int) int {
	if record.Partition >= 0 {
		return int(record.Partition)
	}
	return c.TopicPartitioner.Partition(record, partitions)
}

var codecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

var acks = map[string]kgo.Acks{"0": kgo.NoAck(), "1": kgo.LeaderAck()}

func (l franzLibrary) producer(options producerOptions) (producer, error) {
	chosen := []kgo.Opt{
		kgo.RecordPartitioner(chooser{kgo.StickyKeyPartitioner(nil)}),
		kgo.ProducerBatchCompression(codecs[options.codec]),
	}
	if level, weaker := acks[options.acks]; weaker {
		chosen = append(chosen, kgo.RequiredAcks(level), kgo.DisableIdempotentWrite())
	}
	if options.id != "" {
		chosen = append(chosen, kgo.TransactionalID(options.id), kgo.TransactionTimeout(options.transactionTimeout))
	}
	client, err := l.open(chosen...)
	if err == nil && options.id != "" {
		// The id is taken over here and not, as this library does by itself, at the first record.
		_, _, err = client.ProducerID(always)
	}
	return &franzProducer{Client: client, patience: options.patience}, err
}

func (p *franzProducer) send(topic string, partition int32, records []record) error {
	for _, record := range records {
		made := &kgo.Record{Topic: topic, Partition: partition, Key: record.key, Value: record.value}
		if record.timestampMs != 0 {
			made.Timestamp = time.UnixMilli(record.timestampMs)
		}
		for _, header := range record.headers {
			made.Headers = append(made.Headers, kgo.RecordHeader{Key: header.name, Value: header.value})
		}
		// RecordDeliveryTimeout would count from the record's timestamp, which may be years ago.
		limited, cancel := context.WithTimeout(always, p.patience)
		done := p.failed.Promise()
		p.Produce(limited, made, func(record *kgo.Record, err error) {
			cancel()
			done(record, err)
		})
	}
	return nil
}

func (p *franzProducer) flush() error {
	err := p.failed.Err()
	p.failed = kgo.FirstErrPromise{}
	return err
}

func (p *franzProducer) begin() error  { return p.BeginTransaction() }
func (p *franzProducer) commit() error { return p.EndTransaction(always, kgo.TryCommit) }
func (p *franzProducer) abort() error  { return p.EndTransaction(always, kgo.TryAbort) }

func (p *franzProducer) close() error {
	p.Close()
	return nil
}
