// Consumers of franz-go: of whole partitions, and members of groups.
package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// errPartitionsLost is what a commit of offsets is told whose partitions the library has lost.
var errPartitionsLost = errors.New("the partitions were lost before the commit")

// franzReader knows of each partition that it has which offset comes next. Members are told of partitions in the background.
type franzReader struct {
	*kgo.Client
	topic, group string
	lock         sync.Mutex
	next         map[int32]int64 // negative: nothing was answered with yet
	lost         bool
}

func isolation(committed bool) kgo.Opt {
	if committed {
		return kgo.FetchIsolationLevel(kgo.ReadCommitted())
	}
	return kgo.FetchIsolationLevel(kgo.ReadUncommitted())
}

func (l franzLibrary) consumer(options consumerOptions) (reader, error) {
	// Something must be consumed, or the client would take nothing on later.
	client, err := l.open(isolation(options.committed), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{options.topic: {}}))
	if err != nil {
		return nil, err
	}
	r := &franzReader{Client: client, topic: options.topic, next: map[int32]int64{}}
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

func (r *franzReader) seek(partition int32, wanted string) error {
	offset := int64(0)
	var err error
	if wanted == "earliest" || wanted == "latest" {
		offset, err = asker{kadm.NewClient(r.Client)}.offset(r.topic, partition, wanted)
	} else {
		offset = number(wanted)
	}
	if err != nil {
		return err
	}
	if _, found := r.next[partition]; found {
		r.RemoveConsumePartitions(map[string][]int32{r.topic: {partition}})
	}
	r.next[partition] = offset
	r.AddConsumePartitions(map[string]map[int32]kgo.Offset{r.topic: {partition: kgo.NewOffset().At(offset)}})
	return nil
}

func (l franzLibrary) member(options memberOptions) (reader, error) {
	r := &franzReader{topic: options.topic, group: options.group, next: map[int32]int64{}}
	chosen := []kgo.Opt{
		kgo.ConsumerGroup(options.group), kgo.ConsumeTopics(options.topic), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(options.session), kgo.HeartbeatInterval(options.heartbeat),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
			r.lock.Lock()
			defer r.lock.Unlock()
			for _, partition := range partitions[options.topic] {
				r.next[partition] = -1
			}
		}),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) { r.drop(partitions, false) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) { r.drop(partitions, true) }),
	}
	if options.instance != "" {
		chosen = append(chosen, kgo.InstanceID(options.instance))
	}
	var err error
	r.Client, err = l.open(chosen...)
	return r, err
}

func (r *franzReader) drop(partitions map[string][]int32, lost bool) {
	r.lock.Lock()
	defer r.lock.Unlock()
	r.lost = r.lost || lost
	for _, partition := range partitions[r.topic] {
		delete(r.next, partition)
	}
}

func (r *franzReader) take(count int, patience time.Duration) ([]record, error) {
	limited, cancel := context.WithTimeout(always, patience)
	defer cancel()
	var found []record
	for len(found) < count && limited.Err() == nil {
		fetches := r.PollRecords(limited, count-len(found))
		fetches.EachRecord(func(one *kgo.Record) { found = append(found, fromRecord(one)) })
		if err := fetches.Err(); err != nil && limited.Err() == nil && !kerr.IsRetriable(err) {
			return found, err
		}
	}
	r.lock.Lock()
	defer r.lock.Unlock()
	r.lost = false
	for _, one := range found {
		if _, mine := r.next[int32(one.partition)]; mine {
			r.next[int32(one.partition)] = one.offset + 1
		}
	}
	return found, nil
}

func fromRecord(one *kgo.Record) record {
	made := record{
		partition: int64(one.Partition), offset: one.Offset, timestampMs: one.Timestamp.UnixMilli(), key: one.Key, value: one.Value,
	}
	for _, pair := range one.Headers {
		made.headers = append(made.headers, header{pair.Key, pair.Value})
	}
	return made
}

func (r *franzReader) assignment() ([]int32, error) {
	r.lock.Lock()
	defer r.lock.Unlock()
	return slices.Sorted(maps.Keys(r.next)), nil
}

func (r *franzReader) position(partition int32) (int64, error) {
	r.lock.Lock()
	defer r.lock.Unlock()
	return r.next[partition], nil
}

func (r *franzReader) commitOffsets() error {
	r.lock.Lock()
	offsets, lost := map[int32]kgo.EpochOffset{}, r.lost
	for partition, offset := range r.next {
		if offset >= 0 {
			offsets[partition] = kgo.EpochOffset{Epoch: -1, Offset: offset}
		}
	}
	r.lock.Unlock()
	if lost {
		return errPartitionsLost
	}
	var failed error
	r.CommitOffsetsSync(always, map[string]map[int32]kgo.EpochOffset{r.topic: offsets}, r.onCommit(&failed))
	return failed
}

func (r *franzReader) committed(partition int32) (int64, error) {
	found, err := kadm.NewClient(r.Client).FetchOffsets(always, r.group)
	if err != nil {
		return 0, err
	}
	one, there := found.Lookup(r.topic, partition)
	if !there {
		return -1, nil
	}
	return one.At, one.Err
}

func (r *franzReader) close() error {
	r.Close()
	if r.lost {
		return fmt.Errorf("closed: %w", errPartitionsLost)
	}
	return nil
}
