//! Requests from JSON to bytes and responses from bytes to JSON, by their schema.
//!
//! **Invariants:** what is written may be nonsense (a null where none may be), so that a broker's refusals can be asked for,
//! but it always has the layout of its version; what is read is believed nothing: every length is checked, bytes that are
//! left over are an error. Bytes are strings in JSON: text as it is, anything else as `hex:` and digits.

use serde_json::{Map, Number, Value};
use uuid::Uuid;

use super::records;
use super::schema::{Field, Kind, Message};

/// What cannot be null although the script wants it to be.
const NULL_LENGTH: i32 = -1;

/// A request's body.
pub fn encode(message: &Message, version: i16, body: &Value) -> Vec<u8> {
    let mut writer = Writer {
        bytes: Vec::new(),
        version,
        flexible: version >= message.flexible_from,
    };
    writer.fields(&message.fields, body, &message.api);
    writer.bytes
}

/// A response's body.
pub fn decode(message: &Message, version: i16, body: &[u8]) -> Result<Value, String> {
    let mut reader = Reader {
        rest: body,
        version,
        flexible: version >= message.flexible_from,
    };
    let value = reader.fields(&message.fields)?;
    if reader.rest.is_empty() {
        Ok(value)
    } else {
        Err(format!("{} bytes behind the last field", reader.rest.len()))
    }
}

/// Bytes as JSON has them.
pub fn bytes_to_json(bytes: &[u8]) -> Value {
    let plain = bytes.iter().all(|byte| (b' '..=b'~').contains(byte));
    match std::str::from_utf8(bytes) {
        Ok(text) if plain => Value::from(text),
        _ => Value::from(format!("hex:{}", hex(bytes))),
    }
}

/// Bytes that a script means.
pub fn bytes_of_json(text: &str) -> Vec<u8> {
    let Some(digits) = text.strip_prefix("hex:") else {
        return text.as_bytes().to_vec();
    };
    let digits: Vec<char> = digits.chars().filter(|digit| !digit.is_whitespace()).collect();
    let pair = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16);
    digits
        .chunks(2)
        .map(|digits| pair(digits).unwrap_or_else(|_| panic!("no hexadecimal digits: {digits:?}")))
        .collect()
}

/// Bytes as digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

struct Writer {
    bytes: Vec<u8>,
    version: i16,
    flexible: bool,
}

impl Writer {
    fn fields(&mut self, fields: &[Field], value: &Value, what: &str) {
        let empty = Map::new();
        let object = match value {
            Value::Null => &empty,
            Value::Object(object) => object,
            other => panic!("{what}: {other} where fields are due"),
        };
        for name in object.keys() {
            let known = fields.iter().any(|field| field.name == *name);
            assert!(known, "{what} has no field {name}");
        }
        let mut tagged = Vec::new();
        let version = self.version;
        for field in fields.iter().filter(|field| field.versions.has(version)) {
            let given = object.get(&field.name);
            match field.tag(version) {
                None => self.value(field, &given.cloned().unwrap_or_else(|| default_of(field))),
                Some(tag) => tagged.extend(given.map(|given| (tag, field, given))),
            }
        }
        if self.flexible {
            self.unsigned_varint(tagged.len());
            for (tag, field, given) in tagged {
                let mut inner = Self {
                    bytes: Vec::new(),
                    ..*self
                };
                inner.value(field, given);
                self.unsigned_varint(tag as usize);
                self.unsigned_varint(inner.bytes.len());
                self.bytes.extend(inner.bytes);
            }
        }
    }

    fn value(&mut self, field: &Field, value: &Value) {
        match &field.kind {
            Kind::Array(element) => self.array(element, value, &field.name),
            Kind::Struct(fields) => {
                if field.may_be_null(self.version) {
                    self.bytes.push(if value.is_null() { 0xff } else { 1 });
                }
                if !value.is_null() || !field.may_be_null(self.version) {
                    self.fields(fields, value, &field.name);
                }
            }
            kind => self.scalar(kind, value, &field.name),
        }
    }

    fn array(&mut self, element: &Kind, value: &Value, what: &str) {
        match value {
            Value::Null => self.length(NULL_LENGTH, 4),
            Value::Array(items) => {
                self.length(i32::try_from(items.len()).expect("a short list"), 4);
                for item in items {
                    match element {
                        Kind::Struct(fields) => self.fields(fields, item, what),
                        kind => self.scalar(kind, item, what),
                    }
                }
            }
            other => panic!("{what}: {other} where a list is due"),
        }
    }

    fn scalar(&mut self, kind: &Kind, value: &Value, what: &str) {
        let number = || {
            value
                .as_i64()
                .unwrap_or_else(|| panic!("{what}: {value} where a number is due"))
        };
        let unfit = "a number that the script cut to its type";
        match kind {
            Kind::Bool => self
                .bytes
                .push(u8::from(value.as_bool().unwrap_or_else(|| number() != 0))),
            Kind::Int8 => self.bytes.extend(i8::try_from(number()).expect(unfit).to_be_bytes()),
            Kind::Int16 => self.bytes.extend(i16::try_from(number()).expect(unfit).to_be_bytes()),
            Kind::Uint16 => self.bytes.extend(u16::try_from(number()).expect(unfit).to_be_bytes()),
            Kind::Int32 => self.bytes.extend(i32::try_from(number()).expect(unfit).to_be_bytes()),
            Kind::Int64 => self.bytes.extend(number().to_be_bytes()),
            Kind::Float64 => self.bytes.extend(value.as_f64().expect("a number").to_be_bytes()),
            Kind::Uuid => {
                let text = value
                    .as_str()
                    .unwrap_or_else(|| panic!("{what}: {value} where an id is due"));
                let id = Uuid::parse_str(text).unwrap_or_else(|_| panic!("{what}: {text} is no UUID"));
                self.bytes.extend(id.as_bytes());
            }
            Kind::String => self.optional_bytes(value.as_str().map(|text| text.as_bytes().to_vec()), value, what, 2),
            Kind::Bytes | Kind::Records => self.optional_bytes(value.as_str().map(bytes_of_json), value, what, 4),
            Kind::Array(_) | Kind::Struct(_) => panic!("{what} is no single value"),
        }
    }

    fn optional_bytes(&mut self, bytes: Option<Vec<u8>>, value: &Value, what: &str, width: usize) {
        let Some(bytes) = bytes else {
            assert!(value.is_null(), "{what}: {value} where text is due");
            self.length(NULL_LENGTH, width);
            return;
        };
        self.length(i32::try_from(bytes.len()).expect("short bytes"), width);
        self.bytes.extend(bytes);
    }

    fn length(&mut self, length: i32, width: usize) {
        if self.flexible {
            self.unsigned_varint(usize::try_from(length + 1).expect("-1 or a length"));
        } else if width == 2 {
            let length = i16::try_from(length).expect("a string of less than 32 KiB");
            self.bytes.extend(length.to_be_bytes());
        } else {
            self.bytes.extend(length.to_be_bytes());
        }
    }

    fn unsigned_varint(&mut self, mut value: usize) {
        while value >= 0x80 {
            self.bytes.push(u8::try_from(value & 0x7f).expect("seven bits") | 0x80);
            value >>= 7;
        }
        self.bytes.push(u8::try_from(value).expect("seven bits"));
    }
}

/// What a request holds where a script says nothing.
pub fn default_of(field: &Field) -> Value {
    let default = field.default.as_deref();
    match &field.kind {
        _ if default == Some("null") => Value::Null,
        Kind::Bool => Value::from(default == Some("true")),
        Kind::Float64 => Value::from(0.0),
        Kind::String | Kind::Bytes | Kind::Records => Value::from(default.unwrap_or_default()),
        Kind::Uuid => Value::from(Uuid::nil().to_string()),
        Kind::Array(_) => Value::Array(Vec::new()),
        Kind::Struct(_) => Value::Object(Map::new()),
        _ => Value::from(default.map_or(0, number)),
    }
}

fn number(text: &str) -> i64 {
    let parsed = text
        .strip_prefix("0x")
        .map_or_else(|| text.parse(), |digits| i64::from_str_radix(digits, 16));
    parsed.unwrap_or_else(|_| panic!("default {text}"))
}

struct Reader<'a> {
    rest: &'a [u8],
    version: i16,
    flexible: bool,
}

impl Reader<'_> {
    fn fields(&mut self, fields: &[Field]) -> Result<Value, String> {
        let mut object = Map::new();
        let version = self.version;
        for field in fields
            .iter()
            .filter(|field| field.versions.has(version) && field.tag(version).is_none())
        {
            let value = self.value(field).map_err(|why| format!("{}: {why}", field.name))?;
            object.insert(field.name.clone(), value);
        }
        if self.flexible {
            for _ in 0..self.unsigned_varint()? {
                self.tagged(fields, &mut object)?;
            }
        }
        Ok(Value::Object(object))
    }

    fn tagged(&mut self, fields: &[Field], object: &mut Map<String, Value>) -> Result<(), String> {
        let tag = self.unsigned_varint()?;
        let size = self.unsigned_varint()?;
        let bytes = self.take(size)?;
        let field = fields
            .iter()
            .find(|field| {
                field.versions.has(self.version) && field.tag(self.version).map(|tag| tag as usize) == Some(tag)
            })
            .ok_or_else(|| format!("unknown tag {tag}"))?;
        let mut inner = Reader { rest: &bytes, ..*self };
        let value = inner.value(field).map_err(|why| format!("{}: {why}", field.name))?;
        if !inner.rest.is_empty() {
            return Err(format!("{} is longer than its value", field.name));
        }
        object.insert(field.name.clone(), value);
        Ok(())
    }

    fn value(&mut self, field: &Field) -> Result<Value, String> {
        let value = match &field.kind {
            Kind::Struct(fields) => {
                if field.may_be_null(self.version) && self.array_of::<1>()?[0] == 0xff {
                    Value::Null
                } else {
                    self.fields(fields)?
                }
            }
            Kind::Array(element) => self.array(element)?,
            kind => self.scalar(kind)?,
        };
        if value.is_null() && !field.may_be_null(self.version) {
            return Err("null, which may not be".to_owned());
        }
        Ok(value)
    }

    fn array(&mut self, element: &Kind) -> Result<Value, String> {
        let Some(count) = self.length(4)? else {
            return Ok(Value::Null);
        };
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(match element {
                Kind::Struct(fields) => self.fields(fields)?,
                kind => self.scalar(kind)?,
            });
        }
        Ok(Value::Array(items))
    }

    fn scalar(&mut self, kind: &Kind) -> Result<Value, String> {
        Ok(match kind {
            Kind::Bool => Value::from(self.array_of::<1>()?[0] != 0),
            Kind::Int8 => Value::from(i8::from_be_bytes(self.array_of()?)),
            Kind::Int16 => Value::from(i16::from_be_bytes(self.array_of()?)),
            Kind::Uint16 => Value::from(u16::from_be_bytes(self.array_of()?)),
            Kind::Int32 => Value::from(i32::from_be_bytes(self.array_of()?)),
            Kind::Int64 => Value::from(i64::from_be_bytes(self.array_of()?)),
            Kind::Float64 => {
                let number = f64::from_be_bytes(self.array_of()?);
                Number::from_f64(number).map_or_else(|| Value::from(number.to_string()), Value::Number)
            }
            Kind::Uuid => Value::from(Uuid::from_bytes(self.array_of()?).to_string()),
            Kind::String => self.optional_bytes(2)?.map_or(Ok(Value::Null), |bytes| {
                String::from_utf8(bytes)
                    .map(Value::from)
                    .map_err(|error| error.to_string())
            })?,
            Kind::Bytes => self
                .optional_bytes(4)?
                .map_or(Value::Null, |bytes| bytes_to_json(&bytes)),
            Kind::Records => self
                .optional_bytes(4)?
                .map_or(Value::Null, |bytes| records::to_json(&bytes)),
            Kind::Array(_) | Kind::Struct(_) => return Err("no single value".to_owned()),
        })
    }

    fn optional_bytes(&mut self, width: usize) -> Result<Option<Vec<u8>>, String> {
        self.length(width)?.map(|length| self.take(length)).transpose()
    }

    /// A length, or `None` for null.
    fn length(&mut self, width: usize) -> Result<Option<usize>, String> {
        let length = if self.flexible {
            i64::try_from(self.unsigned_varint()?).map_err(|error| error.to_string())? - 1
        } else if width == 2 {
            i64::from(i16::from_be_bytes(self.array_of()?))
        } else {
            i64::from(i32::from_be_bytes(self.array_of()?))
        };
        match length {
            -1 => Ok(None),
            length => usize::try_from(length)
                .map(Some)
                .map_err(|_| format!("length {length}")),
        }
    }

    fn unsigned_varint(&mut self) -> Result<usize, String> {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array_of()?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("endless varint".to_owned())
    }

    fn array_of<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or("the answer ends too early")?;
        self.rest = rest;
        Ok(*taken)
    }

    fn take(&mut self, length: usize) -> Result<Vec<u8>, String> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or("the answer ends too early")?;
        self.rest = rest;
        Ok(taken.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::differential::schema::messages;

    /// Every message, version and field: what was written with defaults is read again, to the last byte.
    #[test]
    fn what_is_written_is_read() {
        for message in messages() {
            for version in message.versions.0..=message.versions.1 {
                let mut body = Map::new();
                for field in message.fields.iter().filter(|field| field.versions.has(version)) {
                    let value = match &field.kind {
                        Kind::Array(element) if element.fields().is_some() => {
                            Value::from(vec![Value::Object(Map::new())])
                        }
                        _ => default_of(field),
                    };
                    body.insert(field.name.clone(), value);
                }
                let bytes = encode(message, version, &Value::Object(body.clone()));
                if message
                    .fields
                    .iter()
                    .any(|field| field.default.as_deref() == Some("null") && !field.may_be_null(version))
                {
                    continue;
                }
                let read =
                    decode(message, version, &bytes).unwrap_or_else(|why| panic!("{} {version}: {why}", message.api));
                let names = |value: &Value| value.as_object().expect("fields").keys().cloned().collect::<Vec<_>>();
                assert_eq!(names(&read), names(&Value::Object(body)), "{} {version}", message.api);
                assert!(decode(message, version, &[&bytes[..], &[0]].concat()).is_err());
            }
        }
    }
}
