// Consumers of whole partitions with kafka-go: one Reader each, which a seek replaces.
package main

import (
	"context"
	"time"

	"github.com/segmentio/kafka-go"
)

type partitionsReader struct {
	library  goLibrary
	options  consumerOptions
	parts    map[int32]*part
	incoming chan delivery
}

// part is one partition from an offset on.
type part struct {
	next  int64
	stop  context.CancelFunc
	ended chan struct{}
}

// delivery is a message, and the generation that it came in where there is one.
type delivery struct {
	generation *generation
	message    kafka.Message
}

func (l goLibrary) consumer(options consumerOptions) (reader, error) {
	r := &partitionsReader{l, options, map[int32]*part{}, make(chan delivery)}
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
		offset, err = asker{r.library.client}.offset(r.options.topic, partition, wanted)
	} else {
		offset = number(wanted)
	}
	if err != nil {
		return err
	}
	if old, found := r.parts[partition]; found {
		old.stop()
		<-old.ended
	}
	running, stop := context.WithCancel(always)
	now := &part{offset, stop, make(chan struct{})}
	r.parts[partition] = now
	isolation := kafka.ReadUncommitted
	if r.options.committed {
		isolation = kafka.ReadCommitted
	}
	go func() {
		defer close(now.ended)
		r.library.read(running, r.options.topic, int(partition), offset, isolation, func(message kafka.Message) {
			select {
			case r.incoming <- delivery{nil, message}:
			case <-running.Done():
			}
		})
	}()
	return nil
}

// read hands on what a partition has from an offset on, as long as `running` lasts. Errors are the library's to try again.
func (l goLibrary) read(
	running context.Context, topic string, partition int, offset int64, isolation kafka.IsolationLevel, handOn func(kafka.Message),
) {
	from := kafka.NewReader(kafka.ReaderConfig{
		Brokers: l.brokers, Topic: topic, Partition: partition, IsolationLevel: isolation,
		MinBytes: 1, MaxBytes: 10 << 20, MaxWait: 100 * time.Millisecond, ReadBackoffMax: 250 * time.Millisecond,
	})
	defer from.Close()
	if err := from.SetOffset(offset); err != nil {
		return
	}
	for running.Err() == nil {
		if message, err := from.ReadMessage(running); err == nil {
			handOn(message)
		}
	}
}

func (r *partitionsReader) take(count int, patience time.Duration) ([]record, error) {
	var found []record
	timeout := time.After(patience)
	for len(found) < count {
		select {
		case came := <-r.incoming:
			r.parts[int32(came.message.Partition)].next = came.message.Offset + 1
			found = append(found, fromMessage(came.message))
		case <-timeout:
			return found, nil
		}
	}
	return found, nil
}

func fromMessage(message kafka.Message) record {
	made := record{
		partition: int64(message.Partition), offset: message.Offset, timestampMs: message.Time.UnixMilli(),
		key: message.Key, value: message.Value,
	}
	for _, one := range message.Headers {
		made.headers = append(made.headers, header{one.Key, one.Value})
	}
	return made
}

func (r *partitionsReader) position(partition int32) (int64, error) {
	return r.parts[partition].next, nil
}

func (r *partitionsReader) close() error {
	for _, part := range r.parts {
		part.stop()
		<-part.ended
	}
	return nil
}

const noMember = unsupported("this is a matter of members of groups")

func (r *partitionsReader) assignment() ([]int32, error)   { return nil, noMember }
func (r *partitionsReader) commitOffsets() error           { return noMember }
func (r *partitionsReader) committed(int32) (int64, error) { return 0, noMember }
