// Consume, transform, produce with sarama.
package main

import (
	"fmt"
	"time"

	"github.com/IBM/sarama"
)

type transformation struct {
	transformOptions
	from *groupReader
	to   *saramaProducer
}

func (l saramaLibrary) transform(options transformOptions) error {
	to, err := l.open(producerOptions{id: options.id, transactionTimeout: time.Minute, codec: "none", patience: 30 * time.Second})
	if err != nil {
		return err
	}
	defer to.close()
	member := memberOptions{options.group, options.source, "", sessionTimeout, 300 * time.Millisecond}
	from, err := l.join(member, sarama.ReadCommitted)
	if err != nil {
		return err
	}
	defer from.close()
	t := transformation{options, from, to}
	for {
		records, err := from.take(1, 200*time.Millisecond)
		if err != nil {
			return err
		}
		if len(records) == 0 {
			continue
		}
		more, err := from.take(maxRecords-1, 20*time.Millisecond)
		if err != nil {
			return err
		}
		if err := t.transact(append(records, more...)); err != nil {
			return err
		}
	}
}

// transact gives back an error only where the producer is at its end.
func (t *transformation) transact(records []record) error {
	aborts, err := t.attempt(records)
	if err == nil && !aborts {
		if err = t.to.CommitTxn(); err == nil {
			fmt.Println("committed", len(records))
			return nil
		}
	}
	for t.to.TxnStatus()&sarama.ProducerTxnFlagFatalError == 0 {
		if err = t.to.AbortTxn(); err == nil {
			break
		}
	}
	if t.to.TxnStatus()&sarama.ProducerTxnFlagFatalError != 0 {
		return err
	}
	// Members cannot seek: a new session begins again where the group has committed.
	t.from.end()
	t.from.begin()
	return nil
}

func (t *transformation) attempt(records []record) (aborts bool, err error) {
	if err := t.to.BeginTxn(); err != nil {
		return false, err
	}
	next := map[int64]int64{}
	stalls := false
	for _, one := range records {
		made := record{value: append(one.value, '!')}
		if err := t.to.send(t.target, int32(one.partition), []record{made}); err != nil {
			return false, err
		}
		next[one.partition] = one.offset + 1
		stalls = stalls || string(one.value) == t.stall.value
	}
	var offsets []*sarama.PartitionOffsetMetadata
	for partition, offset := range next {
		offsets = append(offsets, &sarama.PartitionOffsetMetadata{Partition: int32(partition), Offset: offset, LeaderEpoch: -1})
	}
	metadata := sarama.NewConsumerGroupMetadataFromSession(t.from.session, t.group, nil)
	in := map[string][]*sarama.PartitionOffsetMetadata{t.source: offsets}
	if err := t.to.AddOffsetsToTxnWithGroupMetadata(in, metadata); err != nil {
		return false, err
	}
	if err := t.to.flush(); err != nil {
		return false, err
	}
	return stalls && t.stall.askedToAbort(t.stall.value), nil
}
