// A producer of sarama: its asynchronous one, with a count of what is on its way.
package main

import (
	"sync"
	"time"

	"github.com/IBM/sarama"
)

type saramaProducer struct {
	sarama.AsyncProducer
	onTheirWay sync.WaitGroup
	lock       sync.Mutex
	failed     error // the first one since the last flush
}

// chosen marks the records whose partition is given.
type chosen struct{}

// chooser takes the given partition, or else the library's.
type chooser struct{ sarama.Partitioner }

func (c chooser) Partition(message *sarama.ProducerMessage, partitions int32) (int32, error) {
	if message.Metadata == (chosen{}) {
		return message.Partition, nil
	}
	return c.Partitioner.Partition(message, partitions)
}

// MessageRequiresConsistency has a record go to its partition, or nowhere.
func (c chooser) MessageRequiresConsistency(*sarama.ProducerMessage) bool { return true }

func (c chooser) RequiresConsistency() bool { return true }

var codecs = map[string]sarama.CompressionCodec{
	"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
	"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
}

var acks = map[string]sarama.RequiredAcks{"0": sarama.NoResponse, "1": sarama.WaitForLocal, "all": sarama.WaitForAll}

func (l saramaLibrary) producer(options producerOptions) (producer, error) { return l.open(options) }

func (l saramaLibrary) open(options producerOptions) (*saramaProducer, error) {
	config := settings(options.patience)
	config.Producer.Partitioner = func(topic string) sarama.Partitioner { return chooser{sarama.NewHashPartitioner(topic)} }
	config.Producer.Return.Successes = true
	config.Producer.Retry.Backoff = 200 * time.Millisecond
	config.Producer.Retry.Max = int(options.patience / config.Producer.Retry.Backoff)
	config.Producer.Compression = codecs[options.codec]
	if options.acks != "" {
		config.Producer.RequiredAcks = acks[options.acks]
	}
	if options.idempotent || options.id != "" {
		config.Producer.Idempotent, config.Producer.RequiredAcks, config.Net.MaxOpenRequests = true, sarama.WaitForAll, 1
	}
	config.Producer.Transaction.ID = options.id
	config.Producer.Transaction.Timeout = options.transactionTimeout
	inner, err := sarama.NewAsyncProducer(l.addresses, config)
	if err != nil {
		return nil, err
	}
	p := &saramaProducer{AsyncProducer: inner}
	go func() {
		for range inner.Successes() {
			p.onTheirWay.Done()
		}
	}()
	go func() {
		for err := range inner.Errors() {
			p.lock.Lock()
			if p.failed == nil {
				p.failed = err
			}
			p.lock.Unlock()
			p.onTheirWay.Done()
		}
	}()
	return p, nil
}

func (p *saramaProducer) send(topic string, partition int32, records []record) error {
	for _, record := range records {
		message := &sarama.ProducerMessage{Topic: topic, Partition: partition}
		if partition >= 0 {
			message.Metadata = chosen{}
		}
		if record.key != nil {
			message.Key = sarama.ByteEncoder(record.key)
		}
		if record.value != nil {
			message.Value = sarama.ByteEncoder(record.value)
		}
		if record.timestampMs != 0 {
			message.Timestamp = time.UnixMilli(record.timestampMs)
		}
		for _, header := range record.headers {
			message.Headers = append(message.Headers, sarama.RecordHeader{Key: []byte(header.name), Value: header.value})
		}
		p.onTheirWay.Add(1)
		p.Input() <- message
	}
	return nil
}

func (p *saramaProducer) flush() error {
	p.onTheirWay.Wait()
	p.lock.Lock()
	defer p.lock.Unlock()
	failed := p.failed
	p.failed = nil
	return failed
}

func (p *saramaProducer) begin() error  { return p.BeginTxn() }
func (p *saramaProducer) commit() error { return p.CommitTxn() }
func (p *saramaProducer) abort() error  { return p.AbortTxn() }

func (p *saramaProducer) close() error {
	p.AsyncClose()
	p.onTheirWay.Wait()
	return nil
}
