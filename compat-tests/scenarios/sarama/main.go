// The worker of sarama; _serve.py says what a worker does, ../_go has the loop.
package main

import (
	"context"
	"errors"
	"io"
	"log"
	"os"
	"time"

	"github.com/IBM/sarama"
)

type saramaLibrary struct{ addresses []string }

func main() {
	sarama.Logger = log.New(io.Discard, "", 0)
	serve(saramaLibrary{os.Args[1:2]})
}

// settings are what all clients here have in common: the newest protocol that the library knows, and patience.
func settings(patience time.Duration) *sarama.Config {
	config := sarama.NewConfig()
	config.ClientID = "worker"
	config.Version = sarama.MaxVersion
	config.Metadata.Retry.Backoff = 200 * time.Millisecond
	config.Metadata.Retry.Max = int(patience / config.Metadata.Retry.Backoff)
	config.Metadata.Timeout = patience
	config.Metadata.AllowAutoTopicCreation = false
	config.Consumer.Return.Errors = true
	config.Consumer.MaxWaitTime = 100 * time.Millisecond
	config.Consumer.Retry.Backoff = 200 * time.Millisecond
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	return config
}

func (saramaLibrary) kind(err error) string {
	is := func(codes ...sarama.KError) bool {
		for _, code := range codes {
			if errors.Is(err, code) {
				return true
			}
		}
		return false
	}
	switch {
	case is(sarama.ErrProducerFenced, sarama.ErrInvalidProducerEpoch):
		return "fenced"
	case is(sarama.ErrMessageSizeTooLarge):
		return "too_large"
	case is(sarama.ErrUnknownTopicOrPartition):
		return "unknown_topic"
	case is(sarama.ErrTopicAlreadyExists):
		return "topic_exists"
	case is(sarama.ErrUnknownMemberId, sarama.ErrIllegalGeneration, sarama.ErrFencedInstancedId), errors.Is(err, errSessionOver):
		return "stale_member"
	}
	return "other"
}

func (l saramaLibrary) cluster() (cluster, error) {
	client, err := sarama.NewClient(l.addresses, settings(10*time.Second))
	if err != nil {
		return nil, err
	}
	admin, err := sarama.NewClusterAdminFromClient(client)
	return &asker{client, admin}, err
}

type asker struct {
	client sarama.Client
	admin  sarama.ClusterAdmin
}

func (a *asker) makeTopic(topic string, partitions int32, configs map[string]string) error {
	entries := map[string]*string{}
	for key, value := range configs {
		entries[key] = &value
	}
	detail := sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1, ConfigEntries: entries}
	return a.admin.CreateTopic(topic, &detail, false)
}

func (a *asker) deleteTopic(topic string) error { return a.admin.DeleteTopic(topic) }

func (a *asker) topics() ([]string, error) {
	found, err := a.admin.ListTopics()
	return keys(found), err
}

func (a *asker) partitions(topic string) (int, error) {
	described, err := a.admin.DescribeTopics([]string{topic})
	if err != nil {
		return 0, err
	}
	if described[0].Err != sarama.ErrNoError {
		return 0, described[0].Err
	}
	return len(described[0].Partitions), nil
}

func (a *asker) grow(topic string, partitions int32) error {
	return a.admin.CreatePartitions(topic, partitions, nil, false)
}

func (a *asker) config(topic, key string) (string, error) {
	entries, err := a.admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: topic})
	for _, entry := range entries {
		if entry.Name == key {
			return entry.Value, err
		}
	}
	return "", errors.Join(err, errors.New("no such config"))
}

func (a *asker) alter(topic, key, value string) error {
	set := sarama.IncrementalAlterConfigsEntry{Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value}
	entries := map[string]sarama.IncrementalAlterConfigsEntry{key: set}
	return a.admin.IncrementalAlterConfig(sarama.TopicResource, topic, entries, false)
}

func (a *asker) offset(topic string, partition int32, wanted string) (int64, error) {
	return a.client.GetOffset(topic, partition, moment(wanted))
}

func moment(wanted string) int64 {
	switch wanted {
	case "earliest":
		return sarama.OffsetOldest
	case "latest":
		return sarama.OffsetNewest
	}
	return number(wanted)
}

func (a *asker) deleteRecords(topic string, partition int32, offset int64) (int64, error) {
	if err := a.admin.DeleteRecords(topic, map[int32]int64{partition: offset}); err != nil {
		return 0, err
	}
	return a.client.GetOffset(topic, partition, sarama.OffsetOldest) // the library keeps the answer to itself
}

func (a *asker) groups() ([]string, error) {
	found, err := a.admin.ListConsumerGroups()
	return keys(found), err
}

func (a *asker) group(group string) (string, int, error) {
	described, err := a.admin.DescribeConsumerGroups([]string{group})
	if err != nil {
		return "", 0, err
	}
	return described[0].State, len(described[0].Members), nil
}

func (a *asker) deleteGroup(group string) error { return a.admin.DeleteConsumerGroup(group) }

func keys[V any](table map[string]V) []string {
	var found []string
	for key := range table {
		found = append(found, key)
	}
	return found
}

var always = context.Background()
