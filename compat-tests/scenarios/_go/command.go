// What a worker is told in one line, and how texts are written in one word; _serve.py says it all.
package main

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// header is one of a record.
type header struct {
	name  string
	value []byte
}

// record is one that was read, or one to be written; nil slices are null, and a time of 0 is the library's own choice.
type record struct {
	partition, offset, timestampMs int64
	key, value                     []byte
	headers                        []header
}

// command is a line: a name, plain words, and options.
type command struct {
	name    string
	words   []string
	options map[string]string
	headers []header
}

func parsed(line string) *command {
	fields := strings.Fields(line)
	c := &command{name: fields[0], options: map[string]string{}}
	for _, field := range fields[1:] {
		key, value, isOption := strings.Cut(field, "=")
		switch {
		case key == "header":
			name, value, _ := strings.Cut(value, ":")
			c.headers = append(c.headers, header{string(decoded(name)), decoded(value)})
		case isOption:
			c.options[key] = value
		default:
			c.words = append(c.words, field)
		}
	}
	return c
}

// option gives the value of one, which is not left over any more.
func (c *command) option(key, absent string) string {
	value, found := c.options[key]
	delete(c.options, key)
	if !found {
		return absent
	}
	return value
}

func (c *command) milliseconds(key, absent string) time.Duration {
	return time.Duration(number(c.option(key, absent))) * time.Millisecond
}

// refuseRest is an error when an option is left over that nobody knows.
func (c *command) refuseRest() error {
	if len(c.options) > 0 {
		return fmt.Errorf("options nobody knows: %v", c.options)
	}
	return nil
}

func (c *command) number(index int) int64 {
	return number(c.words[index])
}

func number(word string) int64 {
	value, err := strconv.ParseInt(word, 10, 64)
	if err != nil {
		panic(err)
	}
	return value
}

func decoded(word string) []byte {
	switch word {
	case "-":
		return nil
	case ".":
		return []byte{}
	}
	text, err := url.PathUnescape(word)
	if err != nil {
		panic(err)
	}
	return []byte(text)
}

func encoded(value []byte) string {
	if value == nil {
		return "-"
	}
	if len(value) == 0 {
		return "."
	}
	var text strings.Builder
	for _, next := range value {
		letter := next|0x20 >= 'a' && next|0x20 <= 'z'
		if letter || next >= '0' && next <= '9' || strings.IndexByte("-_.!~*'()", next) >= 0 {
			text.WriteByte(next)
		} else {
			fmt.Fprintf(&text, "%%%02X", next)
		}
	}
	return text.String()
}

// short is how `poll` answers with a record, full how `records` does.
func (r *record) short() string {
	return fmt.Sprintf("%d:%s", r.partition, encoded(r.value))
}

func (r *record) full() string {
	text := fmt.Sprintf("%d:%d:%d:%s:%s", r.partition, r.offset, r.timestampMs, encoded(r.key), encoded(r.value))
	for _, header := range r.headers {
		text += ":" + encoded([]byte(header.name)) + ":" + encoded(header.value)
	}
	return text
}
