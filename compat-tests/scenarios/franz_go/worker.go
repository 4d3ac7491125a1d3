// The worker of franz-go; _serve.py says what a worker does.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	maxRecords     = 10
	sessionTimeout = 3 * time.Second
)

var (
	always    = context.Background()
	bootstrap = kgo.SeedBrokers(os.Args[1])
	input     = bufio.NewScanner(os.Stdin)
)

// producer is a client that only produces, with the first error of what was sent since the last flush.
type producer struct {
	*kgo.Client
	failed kgo.FirstErrPromise
}

// reader is a client that consumes whole partitions, with what it has fetched and nobody has asked for.
type reader struct {
	*kgo.Client
	fetched []string
}

type worker struct {
	producers map[string]*producer
	readers   map[string]*reader
}

func main() {
	w := worker{map[string]*producer{}, map[string]*reader{}}
	for input.Scan() {
		answer, err := w.obey(strings.Fields(input.Text()))
		if err != nil {
			fmt.Println("error", kind(err), name(err), strings.Join(strings.Fields(err.Error()), " "))
		} else {
			fmt.Println(strings.TrimSpace("ok " + strings.Join(answer, " ")))
		}
	}
}

func kind(err error) string {
	if errors.Is(err, kerr.ProducerFenced) || errors.Is(err, kerr.InvalidProducerEpoch) {
		return "fenced"
	}
	return "other"
}

func name(err error) string {
	var code *kerr.Error
	if errors.As(err, &code) {
		return code.Message
	}
	return fmt.Sprintf("%T", err)
}

func (w *worker) obey(words []string) ([]string, error) {
	command, words := words[0], words[1:]
	switch command {
	case "topic":
		return nil, makeTopic(words[0], number(words[1]))
	case "producer":
		return nil, w.openProducer(words[0], words[1], number(words[2]))
	case "begin":
		return nil, w.producers[words[0]].BeginTransaction()
	case "commit":
		return nil, w.producers[words[0]].EndTransaction(always, kgo.TryCommit)
	case "abort":
		return nil, w.producers[words[0]].EndTransaction(always, kgo.TryAbort)
	case "send":
		to := w.producers[words[0]]
		for _, value := range words[3:] {
			record := &kgo.Record{Topic: words[1], Partition: int32(number(words[2])), Value: []byte(value)}
			to.Produce(always, record, to.failed.Promise())
		}
		return nil, nil
	case "flush":
		to := w.producers[words[0]]
		err := to.failed.Err()
		to.failed = kgo.FirstErrPromise{}
		return nil, err
	case "consumer":
		return nil, w.openReader(words[0], words[1], number(words[2]), words[3])
	case "poll":
		return w.readers[words[0]].poll(number(words[1]), time.Duration(number(words[2]))*time.Millisecond)
	case "transform":
		return nil, transform(words[0], words[1], words[2], words[3], words[4])
	}
	return nil, fmt.Errorf("no command: %s", command)
}

func number(word string) int {
	value, err := strconv.Atoi(word)
	if err != nil {
		panic(err)
	}
	return value
}

func makeTopic(topic string, partitions int) error {
	client, err := kgo.NewClient(bootstrap)
	if err != nil {
		return err
	}
	defer client.Close()
	wanted := kmsg.NewCreateTopicsRequestTopic()
	wanted.Topic, wanted.NumPartitions, wanted.ReplicationFactor = topic, int32(partitions), 1
	request := kmsg.NewPtrCreateTopicsRequest()
	request.Topics, request.TimeoutMillis = append(request.Topics, wanted), 30000
	response, err := request.RequestWith(always, client)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(response.Topics[0].ErrorCode)
}

func (w *worker) openProducer(name, id string, timeoutMs int) error {
	options := []kgo.Opt{bootstrap, kgo.RecordPartitioner(kgo.ManualPartitioner())}
	if id != "-" {
		timeout := time.Duration(timeoutMs) * time.Millisecond
		options = append(options, kgo.TransactionalID(id), kgo.TransactionTimeout(timeout))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return err
	}
	w.producers[name] = &producer{Client: client}
	if id != "-" {
		// The id is taken over here and not, as this library does by itself, at the first record.
		_, _, err = client.ProducerID(always)
	}
	return err
}

func isolation(level string) kgo.Opt {
	if level == "committed" {
		return kgo.FetchIsolationLevel(kgo.ReadCommitted())
	}
	return kgo.FetchIsolationLevel(kgo.ReadUncommitted())
}

func (w *worker) openReader(name, topic string, partitions int, level string) error {
	offsets := map[int32]kgo.Offset{}
	for index := range partitions {
		offsets[int32(index)] = kgo.NewOffset().AtStart()
	}
	assigned := kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: offsets})
	client, err := kgo.NewClient(bootstrap, isolation(level), assigned, kgo.FetchMaxWait(100*time.Millisecond))
	w.readers[name] = &reader{Client: client}
	return err
}

func (r *reader) poll(count int, patience time.Duration) ([]string, error) {
	limited, cancel := context.WithTimeout(always, patience)
	defer cancel()
	for len(r.fetched) < count && limited.Err() == nil {
		fetches := r.PollFetches(limited)
		if err := fetches.Err(); err != nil && limited.Err() == nil {
			return nil, err
		}
		fetches.EachRecord(func(record *kgo.Record) {
			r.fetched = append(r.fetched, fmt.Sprintf("%d:%s", record.Partition, record.Value))
		})
	}
	count = min(count, len(r.fetched))
	answer := r.fetched[:count]
	r.fetched = r.fetched[count:]
	return answer, nil
}

func transform(source, target, group, id, stall string) error {
	session, err := kgo.NewGroupTransactSession(
		bootstrap, isolation("committed"), kgo.FetchMaxWait(100*time.Millisecond),
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(source), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(sessionTimeout), kgo.HeartbeatInterval(300*time.Millisecond), kgo.RequireStableFetchOffsets(),
		kgo.TransactionalID(id), kgo.TransactionTimeout(time.Minute), kgo.RecordPartitioner(kgo.ManualPartitioner()),
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
			made := &kgo.Record{Topic: target, Partition: record.Partition, Value: append(record.Value, '!')}
			stalls = stalls || string(record.Value) == stall
			session.Produce(always, made, failed.Promise())
		})
		end := kgo.TransactionEndTry(failed.Err() == nil)
		if stalls {
			stall = "-"
			fmt.Println("stalled")
			input.Scan()
			end = end && input.Text() == "commit"
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
