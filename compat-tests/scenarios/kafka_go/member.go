// Members of groups with kafka-go: its ConsumerGroup, whose generations come and go in the background.
package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
)

var errGenerationOver = errors.New("the generation that these records came in is over")

// generation is one of the library, and whether it is over.
type generation struct {
	*kafka.Generation
	over context.Context
}

type groupReader struct {
	library  goLibrary
	options  memberOptions
	group    *kafka.ConsumerGroup
	incoming chan delivery

	lock    sync.Mutex
	current *generation // nil before the first

	// What was answered with, and in which generation.
	generation *generation
	answered   map[int]int64
}

func (l goLibrary) member(options memberOptions) (reader, error) {
	if options.instance != "" {
		return nil, unsupported("kafka-go's groups have no static members")
	}
	group, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: options.group, Brokers: l.brokers, Topics: []string{options.topic}, StartOffset: kafka.FirstOffset,
		SessionTimeout: options.session, HeartbeatInterval: options.heartbeat, JoinGroupBackoff: 200 * time.Millisecond,
	})
	if err != nil {
		return nil, err
	}
	r := &groupReader{library: l, options: options, group: group, incoming: make(chan delivery)}
	go r.run()
	return r, nil
}

func (r *groupReader) run() {
	for {
		next, err := r.group.Next(always)
		if errors.Is(err, kafka.ErrGroupClosed) {
			return
		}
		if err == nil {
			r.begin(next)
		}
	}
}

// begin reads the partitions of a generation; the library ends what it has started when the generation ends.
func (r *groupReader) begin(next *kafka.Generation) {
	over, end := context.WithCancel(always)
	now := &generation{next, over}
	next.Start(func(running context.Context) {
		<-running.Done()
		end()
	})
	for _, assigned := range next.Assignments[r.options.topic] {
		next.Start(func(running context.Context) {
			r.library.read(running, r.options.topic, assigned.ID, assigned.Offset, kafka.ReadUncommitted, func(message kafka.Message) {
				select {
				case r.incoming <- delivery{now, message}:
				case <-running.Done():
				}
			})
		})
	}
	r.lock.Lock()
	defer r.lock.Unlock()
	r.current = now
}

func (r *groupReader) take(count int, patience time.Duration) ([]record, error) {
	var found []record
	timeout := time.After(patience)
	for len(found) < count {
		select {
		case came := <-r.incoming:
			if came.generation.over.Err() != nil {
				continue
			}
			if came.generation != r.generation {
				r.generation, r.answered = came.generation, map[int]int64{}
			}
			r.answered[came.message.Partition] = came.message.Offset + 1
			found = append(found, fromMessage(came.message))
		case <-timeout:
			return found, nil
		}
	}
	return found, nil
}

func (r *groupReader) assignment() ([]int32, error) {
	r.lock.Lock()
	defer r.lock.Unlock()
	if r.current == nil || r.current.over.Err() != nil {
		return nil, nil
	}
	var partitions []int32
	for _, assigned := range r.current.Assignments[r.options.topic] {
		partitions = append(partitions, int32(assigned.ID))
	}
	slices.Sort(partitions)
	return partitions, nil
}

func (r *groupReader) commitOffsets() error {
	if r.generation == nil {
		return nil
	}
	err := r.generation.CommitOffsets(map[string]map[int]int64{r.options.topic: r.answered})
	if err != nil && r.generation.over.Err() != nil {
		return fmt.Errorf("%w: %w", errGenerationOver, err)
	}
	return err
}

func (r *groupReader) committed(partition int32) (int64, error) {
	topics := map[string][]int{r.options.topic: {int(partition)}}
	response, err := r.library.client.OffsetFetch(always, &kafka.OffsetFetchRequest{GroupID: r.options.group, Topics: topics})
	if err != nil {
		return 0, err
	}
	found := response.Topics[r.options.topic]
	if response.Error != nil || len(found) != 1 {
		return 0, fmt.Errorf("%d offsets: %w", len(found), response.Error)
	}
	return found[0].CommittedOffset, found[0].Error
}

func (r *groupReader) close() error { return r.group.Close() }

func (r *groupReader) position(int32) (int64, error) {
	return 0, unsupported("kafka-go's group members have no position")
}

func (r *groupReader) seek(int32, string) error {
	return unsupported("kafka-go's group members cannot seek")
}
