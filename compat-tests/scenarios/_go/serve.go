// The loop of a worker: what each command asks of the client library, which main hands to it.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// maxRecords is how many a transaction of `transform` may have, sessionTimeout that of its group.
const (
	maxRecords     = 10
	sessionTimeout = 3 * time.Second
)

// unsupported is the reason why the library has no way to do something.
type unsupported string

func (u unsupported) Error() string { return string(u) }

type producerOptions struct {
	id                 string // not empty: transactional
	transactionTimeout time.Duration
	idempotent         bool
	acks               string // empty: the library's default
	codec              string
	patience           time.Duration
}

type consumerOptions struct {
	topic      string
	partitions int32
	latest     bool
	committed  bool
}

type memberOptions struct {
	group, topic, instance string
	session, heartbeat     time.Duration
}

type transformOptions struct {
	source, target, group, id string
	stall                     *stall
}

// library is what a client has to offer.
type library interface {
	producer(producerOptions) (producer, error)
	consumer(consumerOptions) (reader, error)
	member(memberOptions) (reader, error)
	cluster() (cluster, error)
	transform(transformOptions) error
	kind(error) string
}

// producer queues records; a partition below 0 is the library's to choose.
type producer interface {
	send(topic string, partition int32, records []record) error
	flush() error
	begin() error
	commit() error
	abort() error
	close() error
}

// reader is a consumer of whole partitions, or a member of a group.
type reader interface {
	take(count int, patience time.Duration) ([]record, error)
	assignment() ([]int32, error)
	position(partition int32) (int64, error)
	seek(partition int32, offset string) error
	commitOffsets() error
	committed(partition int32) (int64, error) // negative: none
	close() error
}

// cluster is asked and changed.
type cluster interface {
	makeTopic(topic string, partitions int32, configs map[string]string) error
	deleteTopic(topic string) error
	topics() ([]string, error)
	partitions(topic string) (int, error)
	grow(topic string, partitions int32) error
	config(topic, key string) (string, error)
	alter(topic, key, value string) error
	offset(topic string, partition int32, wanted string) (int64, error) // negative: none
	deleteRecords(topic string, partition int32, offset int64) (int64, error)
	groups() ([]string, error)
	group(group string) (state string, members int, err error)
	deleteGroup(group string) error
}

// stall holds a transaction once.
type stall struct{ value string }

func (s *stall) askedToAbort(value string) bool {
	if s.value != value || value == "-" {
		return false
	}
	s.value = "-"
	fmt.Println("stalled")
	input.Scan()
	return input.Text() == "abort"
}

var input = bufio.NewScanner(os.Stdin)

type worker struct {
	library
	producers map[string]producer
	readers   map[string]reader
	asked     cluster
}

func serve(l library) {
	input.Buffer(nil, 8<<20)
	w := worker{l, map[string]producer{}, map[string]reader{}, nil}
	for input.Scan() {
		answer, err := w.answer(parsed(input.Text()))
		if reason, is := err.(unsupported); is {
			fmt.Println("unsupported", reason)
		} else if err != nil {
			fmt.Println("error", l.kind(err), fmt.Sprintf("%T", err), strings.Join(strings.Fields(err.Error()), " "))
		} else {
			fmt.Println(strings.TrimSpace("ok " + strings.Join(answer, " ")))
		}
	}
}

func (w *worker) answer(c *command) (answer []string, err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("panic: %v", panicked)
		}
	}()
	switch c.name {
	case "producer":
		return nil, w.openProducer(c)
	case "consumer", "member":
		return nil, w.openReader(c)
	case "transform":
		options := transformOptions{c.words[0], c.words[1], c.words[2], c.words[3], &stall{c.words[4]}}
		return nil, w.transform(options)
	}
	if len(c.words) > 0 {
		if p, found := w.producers[c.words[0]]; found {
			return nil, produce(p, c)
		}
		if r, found := w.readers[c.words[0]]; found {
			return consume(r, c)
		}
	}
	if w.asked == nil {
		if w.asked, err = w.cluster(); err != nil {
			return nil, err
		}
	}
	if c.name == "topic" {
		return nil, w.asked.makeTopic(c.words[0], int32(c.number(1)), c.options)
	}
	return ask(w.asked, c)
}

func (w *worker) openProducer(c *command) error {
	options := producerOptions{
		id:                 c.option("id", ""),
		transactionTimeout: c.milliseconds("transaction_timeout_ms", "60000"),
		idempotent:         c.option("idempotence", "") == "on",
		acks:               c.option("acks", ""),
		codec:              c.option("codec", "none"),
		patience:           c.milliseconds("patience_ms", "30000"),
	}
	if err := c.refuseRest(); err != nil {
		return err
	}
	p, err := w.producer(options)
	if err == nil {
		w.producers[c.words[0]] = p
	}
	return err
}

func (w *worker) openReader(c *command) error {
	var r reader
	var err error
	if c.name == "consumer" {
		latest, committed := c.option("from", "") == "latest", c.option("isolation", "") == "committed"
		if err := c.refuseRest(); err != nil {
			return err
		}
		r, err = w.consumer(consumerOptions{c.words[1], int32(c.number(2)), latest, committed})
	} else {
		instance, session := c.option("instance", ""), c.milliseconds("session_timeout_ms", "6000")
		if err := c.refuseRest(); err != nil {
			return err
		}
		r, err = w.member(memberOptions{c.words[1], c.words[2], instance, session, 300 * time.Millisecond})
	}
	if err == nil {
		w.readers[c.words[0]] = r
	}
	return err
}

func produce(p producer, c *command) error {
	switch c.name {
	case "send":
		partition := int32(-1)
		if c.words[2] != "-" {
			partition = int32(c.number(2))
		}
		key, timestamp := decoded(c.option("key", "-")), number(c.option("timestamp", "0"))
		if err := c.refuseRest(); err != nil {
			return err
		}
		var records []record
		for _, value := range c.words[3:] {
			records = append(records, record{timestampMs: timestamp, key: key, value: decoded(value), headers: c.headers})
		}
		return p.send(c.words[1], partition, records)
	case "flush":
		return p.flush()
	case "begin":
		return p.begin()
	case "commit":
		return p.commit()
	case "abort":
		return p.abort()
	case "close":
		return p.close()
	}
	return fmt.Errorf("no command: %s", c.name)
}

func consume(r reader, c *command) ([]string, error) {
	switch c.name {
	case "poll", "records":
		records, err := r.take(int(c.number(1)), time.Duration(c.number(2))*time.Millisecond)
		var answer []string
		for _, record := range records {
			if c.name == "poll" {
				answer = append(answer, record.short())
			} else {
				answer = append(answer, record.full())
			}
		}
		return answer, err
	case "assignment":
		partitions, err := r.assignment()
		return strings.Fields(strings.Trim(fmt.Sprint(partitions), "[]")), err
	case "position":
		return numberOrNone(r.position(int32(c.number(1))))
	case "seek":
		return nil, r.seek(int32(c.number(1)), c.words[2])
	case "commit_offsets":
		return nil, r.commitOffsets()
	case "committed":
		return numberOrNone(r.committed(int32(c.number(1))))
	case "close":
		return nil, r.close()
	}
	return nil, fmt.Errorf("no command: %s", c.name)
}

func ask(in cluster, c *command) ([]string, error) {
	if c.name == "topics" {
		return in.topics()
	} else if c.name == "groups" {
		return in.groups()
	}
	name := c.words[0]
	switch c.name {
	case "delete_topic":
		return nil, in.deleteTopic(name)
	case "partitions":
		count, err := in.partitions(name)
		return []string{strconv.Itoa(count)}, err
	case "grow":
		return nil, in.grow(name, int32(c.number(1)))
	case "config":
		value, err := in.config(name, c.words[1])
		return []string{encoded([]byte(value))}, err
	case "alter":
		return nil, in.alter(name, c.words[1], c.words[2])
	case "offset":
		return numberOrNone(in.offset(name, int32(c.number(1)), c.words[2]))
	case "delete_records":
		return numberOrNone(in.deleteRecords(name, int32(c.number(1)), c.number(2)))
	case "group":
		state, members, err := in.group(name)
		return []string{state, strconv.Itoa(members)}, err
	case "delete_group":
		return nil, in.deleteGroup(name)
	}
	return nil, fmt.Errorf("no command: %s", c.name)
}

func numberOrNone(value int64, err error) ([]string, error) {
	if value < 0 {
		return []string{"-"}, err
	}
	return []string{strconv.FormatInt(value, 10)}, err
}
