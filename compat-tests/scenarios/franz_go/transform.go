// Consume, transform, produce with franz-go: its session of a group and transactions.
package main

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func (l franzLibrary) transform(options transformOptions) error {
	session, err := kgo.NewGroupTransactSession(
		l.seeds, isolation(true), kgo.FetchMaxWait(100*time.Millisecond),
		kgo.ConsumerGroup(options.group), kgo.ConsumeTopics(options.source), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(sessionTimeout), kgo.HeartbeatInterval(300*time.Millisecond), kgo.RequireStableFetchOffsets(),
		kgo.TransactionalID(options.id), kgo.TransactionTimeout(time.Minute), kgo.RecordPartitioner(kgo.ManualPartitioner()),
	)
	if err != nil {
		return err
	}
	defer session.Close()
	for {
		fetches := session.PollRecords(always, maxRecords)
		if fetches.NumRecords() == 0 {
			continue
		}
		if err := session.Begin(); err != nil {
			return err
		}
		var failed kgo.FirstErrPromise
		stalls := false
		fetches.EachRecord(func(record *kgo.Record) {
			made := &kgo.Record{Topic: options.target, Partition: record.Partition, Value: append(record.Value, '!')}
			stalls = stalls || string(record.Value) == options.stall.value
			session.Produce(always, made, failed.Promise())
		})
		end := kgo.TransactionEndTry(failed.Err() == nil)
		if stalls && options.stall.askedToAbort(options.stall.value) {
			end = kgo.TryAbort
		}
		committed, err := session.End(always, end)
		if err != nil {
			return err
		}
		if committed {
			fmt.Println("committed", fetches.NumRecords())
		}
	}
}
