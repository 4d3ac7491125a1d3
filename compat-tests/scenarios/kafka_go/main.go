// The worker of segmentio's kafka-go; _serve.py says what a worker does, ../_go has the loop.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"
)

const noTransactions = unsupported("kafka-go's writer is neither idempotent nor transactional: it writes no producer id")

type goLibrary struct {
	brokers []string
	client  *kafka.Client
}

func main() {
	// Topics come and go here, so that what the library knows of them may not be old.
	transport := &kafka.Transport{MetadataTTL: 300 * time.Millisecond}
	client := &kafka.Client{Addr: kafka.TCP(os.Args[1]), Timeout: 30 * time.Second, Transport: transport}
	serve(goLibrary{os.Args[1:2], client})
}

func (goLibrary) kind(err error) string {
	var tooLarge kafka.MessageTooLargeError
	switch {
	case errors.As(err, &tooLarge), errors.Is(err, kafka.MessageSizeTooLarge):
		return "too_large"
	case errors.Is(err, kafka.UnknownTopicOrPartition):
		return "unknown_topic"
	case errors.Is(err, kafka.TopicAlreadyExists):
		return "topic_exists"
	case errors.Is(err, kafka.IllegalGeneration), errors.Is(err, kafka.UnknownMemberId), errors.Is(err, errGenerationOver):
		return "stale_member"
	}
	return "other"
}

func (l goLibrary) transform(transformOptions) error { return noTransactions }

func (l goLibrary) cluster() (cluster, error) { return asker{l.client}, nil }

type asker struct{ *kafka.Client }

func (a asker) makeTopic(topic string, partitions int32, configs map[string]string) error {
	wanted := kafka.TopicConfig{Topic: topic, NumPartitions: int(partitions), ReplicationFactor: 1}
	for key, value := range configs {
		wanted.ConfigEntries = append(wanted.ConfigEntries, kafka.ConfigEntry{ConfigName: key, ConfigValue: value})
	}
	response, err := a.CreateTopics(always, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{wanted}})
	if err != nil {
		return err
	}
	return response.Errors[topic]
}

func (a asker) deleteTopic(topic string) error {
	response, err := a.DeleteTopics(always, &kafka.DeleteTopicsRequest{Topics: []string{topic}})
	if err != nil {
		return err
	}
	return response.Errors[topic]
}

func (a asker) topics() ([]string, error) {
	response, err := a.Metadata(always, &kafka.MetadataRequest{})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, topic := range response.Topics {
		names = append(names, topic.Name)
	}
	return names, nil
}

func (a asker) partitions(topic string) (int, error) {
	response, err := a.Metadata(always, &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return 0, err
	}
	return len(response.Topics[0].Partitions), response.Topics[0].Error
}

func (a asker) grow(topic string, partitions int32) error {
	wanted := []kafka.TopicPartitionsConfig{{Name: topic, Count: partitions}}
	response, err := a.CreatePartitions(always, &kafka.CreatePartitionsRequest{Topics: wanted})
	if err != nil {
		return err
	}
	return response.Errors[topic]
}

func (a asker) config(topic, key string) (string, error) {
	resource := kafka.DescribeConfigRequestResource{
		ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, ConfigNames: []string{key},
	}
	resources := []kafka.DescribeConfigRequestResource{resource}
	response, err := a.DescribeConfigs(always, &kafka.DescribeConfigsRequest{Resources: resources})
	if err != nil {
		return "", err
	}
	found := response.Resources[0]
	if found.Error != nil || len(found.ConfigEntries) != 1 {
		return "", fmt.Errorf("%d values: %w", len(found.ConfigEntries), found.Error)
	}
	return found.ConfigEntries[0].ConfigValue, nil
}

func (a asker) alter(topic, key, value string) error {
	set := kafka.IncrementalAlterConfigsRequestConfig{Name: key, Value: value, ConfigOperation: kafka.ConfigOperationSet}
	resource := kafka.IncrementalAlterConfigsRequestResource{
		ResourceType: kafka.ResourceTypeTopic, ResourceName: topic,
		Configs: []kafka.IncrementalAlterConfigsRequestConfig{set},
	}
	request := &kafka.IncrementalAlterConfigsRequest{Resources: []kafka.IncrementalAlterConfigsRequestResource{resource}}
	response, err := a.IncrementalAlterConfigs(always, request)
	if err != nil {
		return err
	}
	return response.Resources[0].Error
}

func (a asker) offset(topic string, partition int32, wanted string) (int64, error) {
	request := kafka.FirstOffsetOf(int(partition))
	if wanted == "latest" {
		request = kafka.LastOffsetOf(int(partition))
	} else if wanted != "earliest" {
		request = kafka.TimeOffsetOf(int(partition), time.UnixMilli(number(wanted)))
	}
	found, err := a.listOffset(topic, request)
	if err != nil {
		return 0, err
	}
	switch wanted {
	case "earliest":
		return found.FirstOffset, nil
	case "latest":
		return found.LastOffset, nil
	}
	for offset := range found.Offsets {
		return offset, nil
	}
	return -1, nil
}

// listOffset tries again where a topic is so new that its leader does not know of it yet.
func (a asker) listOffset(topic string, request kafka.OffsetRequest) (kafka.PartitionOffsets, error) {
	wanted := &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: {request}}}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		response, err := a.ListOffsets(always, wanted)
		if err != nil {
			return kafka.PartitionOffsets{}, err
		}
		found := response.Topics[topic][0]
		if code, is := found.Error.(kafka.Error); !is || !code.Temporary() || time.Now().After(deadline) {
			return found, found.Error
		}
	}
}

func (asker) deleteRecords(string, int32, int64) (int64, error) {
	return 0, unsupported("kafka-go has no DeleteRecords request")
}

func (a asker) groups() ([]string, error) {
	response, err := a.ListGroups(always, &kafka.ListGroupsRequest{})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, group := range response.Groups {
		names = append(names, group.GroupID)
	}
	return names, response.Error
}

func (a asker) group(group string) (string, int, error) {
	response, err := a.DescribeGroups(always, &kafka.DescribeGroupsRequest{GroupIDs: []string{group}})
	if err != nil {
		return "", 0, err
	}
	found := response.Groups[slices.IndexFunc(response.Groups, func(one kafka.DescribeGroupsResponseGroup) bool {
		return one.GroupID == group
	})]
	return found.GroupState, len(found.Members), found.Error
}

func (a asker) deleteGroup(group string) error {
	response, err := a.DeleteGroups(always, &kafka.DeleteGroupsRequest{GroupIDs: []string{group}})
	if err != nil {
		return err
	}
	return response.Errors[group]
}

var always = context.Background()
