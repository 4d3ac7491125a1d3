// A producer of kafka-go: its Writer, which gets everything at once when it is flushed.
package main

import (
	"context"
	"time"

	"github.com/segmentio/kafka-go"
)

type goProducer struct {
	writer   *kafka.Writer
	patience time.Duration
	queued   []kafka.Message
}

// chosen is the partition that a message was given.
type chosen int

var codecs = map[string]kafka.Compression{
	"none": 0, "gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd,
}

// The library's own default is not to wait for an answer at all, and nobody would learn of an error then.
var acks = map[string]kafka.RequiredAcks{
	"": kafka.RequireAll, "0": kafka.RequireNone, "1": kafka.RequireOne, "all": kafka.RequireAll,
}

func (l goLibrary) producer(options producerOptions) (producer, error) {
	if options.idempotent || options.id != "" {
		return nil, noTransactions
	}
	hash := &kafka.Hash{}
	writer := &kafka.Writer{
		Addr: l.client.Addr, Transport: l.client.Transport,
		RequiredAcks: acks[options.acks], Compression: codecs[options.codec],
		BatchTimeout: 5 * time.Millisecond, WriteBackoffMax: 250 * time.Millisecond,
		MaxAttempts: int(options.patience/(250*time.Millisecond)) + 1,
		Balancer: kafka.BalancerFunc(func(message kafka.Message, partitions ...int) int {
			if partition, given := message.WriterData.(chosen); given {
				return int(partition)
			}
			return hash.Balance(message, partitions...)
		}),
	}
	return &goProducer{writer, options.patience, nil}, nil
}

func (p *goProducer) send(topic string, partition int32, records []record) error {
	for _, record := range records {
		message := kafka.Message{Topic: topic, Key: record.key, Value: record.value}
		if partition >= 0 {
			message.WriterData = chosen(partition)
		}
		if record.timestampMs != 0 {
			message.Time = time.UnixMilli(record.timestampMs)
		}
		for _, header := range record.headers {
			message.Headers = append(message.Headers, kafka.Header{Key: header.name, Value: header.value})
		}
		p.queued = append(p.queued, message)
	}
	return nil
}

// flush tries as long as the patience lasts: the writer itself gives up at once where it cannot even ask for partitions.
func (p *goProducer) flush() error {
	queued := p.queued
	p.queued = nil
	limited, cancel := context.WithTimeout(always, p.patience)
	defer cancel()
	err := p.writer.WriteMessages(limited, queued...)
	if all, are := err.(kafka.WriteErrors); are {
		for _, one := range all {
			if one != nil {
				return one
			}
		}
	}
	return err
}

func (p *goProducer) begin() error  { return noTransactions }
func (p *goProducer) commit() error { return noTransactions }
func (p *goProducer) abort() error  { return noTransactions }
func (p *goProducer) close() error  { return p.writer.Close() }
