// Consumers of whole partitions with sarama: one partition consumer each, which a seek replaces.
package main

import (
	"time"

	"github.com/IBM/sarama"
)

type partitionsReader struct {
	topic    string
	client   sarama.Client
	consumer sarama.Consumer
	parts    map[int32]*part
	incoming chan *sarama.ConsumerMessage
}

// part is one partition from an offset on.
type part struct {
	sarama.PartitionConsumer
	next int64
	over chan struct{}
}

func (l saramaLibrary) consumer(options consumerOptions) (reader, error) {
	config := settings(30 * time.Second)
	if options.committed {
		config.Consumer.IsolationLevel = sarama.ReadCommitted
	}
	client, err := sarama.NewClient(l.addresses, config)
	if err != nil {
		return nil, err
	}
	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		return nil, err
	}
	incoming := make(chan *sarama.ConsumerMessage)
	r := &partitionsReader{options.topic, client, consumer, map[int32]*part{}, incoming}
	from := "earliest"
	if options.latest {
		from = "latest"
	}
	for partition := range options.partitions {
		if err := r.seek(partition, from); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (r *partitionsReader) seek(partition int32, wanted string) error {
	offset := int64(0)
	var err error
	if wanted == "earliest" || wanted == "latest" {
		offset, err = r.client.GetOffset(r.topic, partition, moment(wanted))
	} else {
		offset = number(wanted)
	}
	if err != nil {
		return err
	}
	if old, found := r.parts[partition]; found {
		close(old.over)
		if err := old.Close(); err != nil {
			return err
		}
	}
	opened, err := r.consumer.ConsumePartition(r.topic, partition, offset)
	if err != nil {
		return err
	}
	now := &part{opened, offset, make(chan struct{})}
	r.parts[partition] = now
	go r.forward(now)
	return nil
}

// forward hands on what comes until the part is over. Errors are the library's to try again.
func (r *partitionsReader) forward(from *part) {
	errors := from.Errors()
	for {
		select {
		case message, open := <-from.Messages():
			if !open {
				return
			}
			select {
			case r.incoming <- message:
			case <-from.over:
				return
			}
		case _, open := <-errors:
			if !open {
				errors = nil
			}
		case <-from.over:
			return
		}
	}
}

func (r *partitionsReader) take(count int, patience time.Duration) ([]record, error) {
	var found []record
	timeout := time.After(patience)
	for len(found) < count {
		select {
		case message := <-r.incoming:
			r.parts[message.Partition].next = message.Offset + 1
			found = append(found, fromMessage(message))
		case <-timeout:
			return found, nil
		}
	}
	return found, nil
}

func fromMessage(message *sarama.ConsumerMessage) record {
	made := record{
		partition: int64(message.Partition), offset: message.Offset, timestampMs: message.Timestamp.UnixMilli(),
		key: message.Key, value: message.Value,
	}
	for _, one := range message.Headers {
		made.headers = append(made.headers, header{string(one.Key), one.Value})
	}
	return made
}

func (r *partitionsReader) position(partition int32) (int64, error) {
	return r.parts[partition].next, nil
}

func (r *partitionsReader) close() error {
	for _, part := range r.parts {
		close(part.over)
	}
	if err := r.consumer.Close(); err != nil {
		return err
	}
	return r.client.Close()
}

var noMember = unsupported("this is a matter of members of groups")

func (r *partitionsReader) assignment() ([]int32, error)   { return nil, noMember }
func (r *partitionsReader) commitOffsets() error           { return noMember }
func (r *partitionsReader) committed(int32) (int64, error) { return 0, noMember }
