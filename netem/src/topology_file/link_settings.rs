//! What a file or a command says of one link, and the link that comes of it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use thiserror::Error;

use super::units::{Bytes, Depth, Mark, PoliceRate, Rate, Share, Time, UnitError};
use crate::{DscpSet, LinkConfig, RATE_MIN_BITS_PER_SECOND, RateLimit, Remark};

/// What the priority class's limit lets through at once if nothing else is said: this
/// long at its rate, and at least four full-sized packets.
const POLICE_BURST: Duration = Duration::from_millis(50);

/// Largest buffer: 128 ms at 1 Tbit/s.
const BUFFER_BYTES_MAX: u64 = 16_000_000_000;

/// Settings of one directed link; what is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkSettings {
    /// Rate of IP packets. Default 20 Mbit/s.
    pub rate: Option<Rate>,
    /// What may wait, in bytes or as time at the rate. Default 250 KB.
    pub buffer: Option<Depth>,
    /// Propagation, one way. Default: half of the pair's round trip.
    pub delay: Option<Time>,
    /// Each packet is late by up to this. Default 0.
    pub jitter: Option<Time>,
    /// Chance of loss. Default 0.
    pub loss: Option<Share>,
    /// Marks that are served first; empty: no classes. Default EF.
    pub priority: Option<Vec<Mark>>,
    /// What the priority class is held to; the excess is dropped. Default none.
    pub police: Option<PoliceRate>,
    /// What may pass at once after a silence. Default 50 ms at `police`'s rate.
    pub police_burst: Option<Bytes>,
    /// Marks that are rewritten as packets enter, before they are classed.
    #[serde(default, deserialize_with = "read_remark")]
    pub remark: Option<BTreeMap<MarkKey, Mark>>,
    /// Rewrites every mark to 0.
    pub bleach: Option<bool>,
}

/// A mark as the key of a TOML table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct MarkKey(pub Mark);

impl TryFrom<String> for MarkKey {
    type Error = UnitError;

    fn try_from(text: String) -> Result<Self, UnitError> {
        text.parse().map(Self)
    }
}

/// Notes what a mark becomes, once.
fn note_remark(
    remark: &mut BTreeMap<MarkKey, Mark>,
    from: MarkKey,
    to: Mark,
) -> Result<(), SettingsError> {
    match remark.insert(from, to) {
        None => Ok(()),
        Some(_) => Err(SettingsError::RemarkTwice(from.0.0)),
    }
}

/// A map would take `EF` and `46` for one key, and the last for what is meant.
fn read_remark<'de, D: Deserializer<'de>>(
    table: D,
) -> Result<Option<BTreeMap<MarkKey, Mark>>, D::Error> {
    struct Pairs;

    impl<'de> Visitor<'de> for Pairs {
        type Value = BTreeMap<MarkKey, Mark>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a table of marks, as { EF = 0 }")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Self::Value, A::Error> {
            let mut remark = BTreeMap::new();
            while let Some((from, to)) = pairs.next_entry()? {
                note_remark(&mut remark, from, to).map_err(A::Error::custom)?;
            }
            Ok(remark)
        }
    }

    table.deserialize_map(Pairs).map(Some)
}

/// Why settings are refused; nothing was changed.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum SettingsError {
    /// `buffer` is too small for a packet.
    #[error("buffer must hold at least one packet of {mtu_bytes} bytes, not {buffer_bytes} bytes")]
    Buffer {
        /// What it comes to.
        buffer_bytes: u64,
        /// The WAN's MTU.
        mtu_bytes: u32,
    },
    /// `buffer` is more than this machine could hold, or a slip of the unit.
    #[error("buffer must be at most 16 GB, not {0} bytes")]
    BufferTooLarge(u64),
    /// `police` without a class.
    #[error(
        "police needs a priority class: give `priority` at least one mark, or leave police out"
    )]
    PoliceWithoutClass,
    /// `police` that would never drop anything.
    #[error(
        "police = {police_bits_per_second} bit/s is no less than the link's rate, \
         {rate_bits_per_second} bit/s, and would do nothing: set police too, to less, such as 5%, or to none"
    )]
    PoliceAboveRate {
        /// What it comes to.
        police_bits_per_second: u64,
        /// The link's.
        rate_bits_per_second: u64,
    },
    /// `police` that lets next to nothing through.
    #[error(
        "police = {0} bit/s is too little: give at least {RATE_MIN_BITS_PER_SECOND} bit/s, as a \
         rate or a larger share, or leave police out"
    )]
    PoliceTooLow(u64),
    /// `police_burst` without `police`.
    #[error("police_burst needs police: give the rate that it belongs to")]
    BurstWithoutPolice,
    /// `police_burst` is too small for a packet, or beyond 32 bits.
    #[error("police_burst must be {mtu_bytes} bytes to 4 GB, not {burst_bytes} bytes")]
    Burst {
        /// What it comes to.
        burst_bytes: u64,
        /// The WAN's MTU.
        mtu_bytes: u32,
    },
    /// `remark` and `bleach` contradict one another.
    #[error("remark and bleach = true contradict each other: leave one out")]
    RemarkAndBleach,
    /// A `key=value` without the `=`.
    #[error(
        "{0:?} is no setting: write rate=20Mbit, buffer=256KB, delay=50ms, jitter=2ms, loss=1%, \
         priority=EF,CS6 (or none), police=5% (or none), police_burst=6KB, remark=46:0,0:46 \
         (or none), bleach=on|off, up or down"
    )]
    NoSetting(String),
    /// A setting that comes twice.
    #[error("{0} is given twice")]
    Twice(String),
    /// A value that can't be read.
    #[error("{key}: {why}")]
    Value {
        /// The setting.
        key: String,
        /// What is wrong.
        why: UnitError,
    },
    /// A value that is not on or off.
    #[error("bleach must be on or off, not {0:?}")]
    Switch(String),
    /// A mark that becomes two things.
    #[error("remark has the mark {0} twice (names and numbers are the same marks): leave one out")]
    RemarkTwice(u8),
    /// A remark without its colon.
    #[error("remark is written FROM:TO, as in 46:0,0:46, not {0:?}")]
    Remark(String),
}

impl LinkSettings {
    /// These settings where given, else `base`'s.
    pub fn over(self, base: &Self) -> Self {
        // A remark or a bleach replaces whichever of the two the base had.
        let marks_given = self.remark.is_some() || self.bleach.is_some();
        let base_marks = |given: bool| !given && !marks_given;
        Self {
            rate: self.rate.or(base.rate),
            buffer: self.buffer.or(base.buffer),
            delay: self.delay.or(base.delay),
            jitter: self.jitter.or(base.jitter),
            loss: self.loss.or(base.loss),
            priority: self.priority.or_else(|| base.priority.clone()),
            // A burst belongs to the rate beside it.
            police_burst: match self.police {
                Some(_) => self.police_burst,
                None => self.police_burst.or(base.police_burst),
            },
            police: self.police.or(base.police),
            remark: if base_marks(self.remark.is_some()) {
                base.remark.clone()
            } else {
                self.remark
            },
            bleach: if base_marks(self.bleach.is_some()) {
                base.bleach
            } else {
                self.bleach
            },
        }
    }

    /// The link that these settings make of `base`; `delay` stays the caller's.
    ///
    /// # Errors
    /// [`SettingsError`], by field.
    pub fn apply(
        &self,
        base: &LinkConfig,
        base_remark: &Remark,
    ) -> Result<(LinkConfig, Remark), SettingsError> {
        let mut link = base.clone();
        if let Some(Rate(rate)) = self.rate {
            link.rate_bits_per_second = rate;
        }
        if let Some(depth) = self.buffer {
            link.buffer_bytes = match depth {
                Depth::Bytes(bytes) => bytes,
                Depth::Time(time) => bytes_in(link.rate_bits_per_second, time),
            };
        }
        if link.buffer_bytes < u64::from(link.mtu_bytes) {
            return Err(SettingsError::Buffer {
                buffer_bytes: link.buffer_bytes,
                mtu_bytes: link.mtu_bytes,
            });
        }
        if link.buffer_bytes > BUFFER_BYTES_MAX {
            return Err(SettingsError::BufferTooLarge(link.buffer_bytes));
        }
        if let Some(Time(delay)) = self.delay {
            link.delay = delay;
        }
        if let Some(Time(jitter)) = self.jitter {
            link.jitter = jitter;
        }
        if let Some(Share(loss)) = self.loss {
            link.loss = loss;
        }
        if let Some(marks) = &self.priority {
            let marks: Vec<u8> = marks.iter().map(|mark| mark.0).collect();
            link.priority_dscps = DscpSet::new(&marks).expect("a Mark is at most 63");
        }
        link.priority_limit = self.limit(&link)?;
        if link.priority_limit.is_some() && link.priority_dscps.is_empty() {
            return Err(SettingsError::PoliceWithoutClass);
        }
        let remark = match (&self.remark, self.bleach) {
            (Some(map), Some(true)) if !map.is_empty() => {
                return Err(SettingsError::RemarkAndBleach);
            }
            (_, Some(true)) => Remark::bleach(),
            (Some(map), _) => {
                Remark::new(map.iter().map(|(from, to)| (from.0.0, to.0))).expect("both are Marks")
            }
            (None, Some(false)) => Remark::default(),
            (None, None) => base_remark.clone(),
        };
        Ok((link, remark))
    }

    fn limit(&self, link: &LinkConfig) -> Result<Option<RateLimit>, SettingsError> {
        let old = link.priority_limit;
        let rate = match self.police {
            None => old.map(|limit| limit.rate_bits_per_second),
            Some(PoliceRate::None) => None,
            Some(PoliceRate::Absolute(rate)) => Some(rate),
            Some(PoliceRate::Share(share)) => {
                Some((link.rate_bits_per_second as f64 * share).round() as u64)
            }
        };
        let Some(rate) = rate else {
            return match self.police_burst {
                Some(_) => Err(SettingsError::BurstWithoutPolice),
                None => Ok(None),
            };
        };
        // Also where only the link's rate is new.
        if rate >= link.rate_bits_per_second {
            return Err(SettingsError::PoliceAboveRate {
                police_bits_per_second: rate,
                rate_bits_per_second: link.rate_bits_per_second,
            });
        }
        if rate < RATE_MIN_BITS_PER_SECOND {
            return Err(SettingsError::PoliceTooLow(rate));
        }
        let burst = match (self.police_burst, self.police, old) {
            (Some(Bytes(bytes)), _, _) => bytes,
            (None, None, Some(old)) => u64::from(old.burst_bytes),
            (None, _, _) => bytes_in(rate, POLICE_BURST).max(4 * u64::from(link.mtu_bytes)),
        };
        let burst_bytes = u32::try_from(burst)
            .ok()
            .filter(|&burst| burst >= link.mtu_bytes)
            .ok_or(SettingsError::Burst {
                burst_bytes: burst,
                mtu_bytes: link.mtu_bytes,
            })?;
        Ok(Some(RateLimit {
            rate_bits_per_second: rate,
            burst_bytes,
        }))
    }
}

/// A change to a running link, as given to `netem set`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LinkChange {
    /// What to set.
    pub settings: LinkSettings,
    /// Whether to take the link up or down.
    pub up: Option<bool>,
}

impl LinkChange {
    /// Reads words such as `rate=10Mbit`, `loss=1%`, `down`.
    ///
    /// # Errors
    /// [`SettingsError`], by word.
    pub fn parse<S: AsRef<str>>(words: &[S]) -> Result<Self, SettingsError> {
        let mut change = Self::default();
        let mut seen = std::collections::BTreeSet::new();
        for word in words.iter().map(AsRef::as_ref) {
            let key = word.split('=').next().unwrap_or(word);
            let slot = if key == "down" { "up" } else { key };
            if !seen.insert(slot) {
                return Err(SettingsError::Twice(key.to_owned()));
            }
            change.read(word)?;
        }
        Ok(change)
    }

    fn read(&mut self, word: &str) -> Result<(), SettingsError> {
        match word {
            "up" => self.up = Some(true),
            "down" => self.up = Some(false),
            _ => {
                let unknown = || SettingsError::NoSetting(word.to_owned());
                let (key, value) = word.split_once('=').ok_or_else(unknown)?;
                self.read_setting(key, value)?.ok_or_else(unknown)?;
            }
        }
        Ok(())
    }

    fn read_setting(&mut self, key: &str, value: &str) -> Result<Option<()>, SettingsError> {
        let settings = &mut self.settings;
        match key {
            "rate" => settings.rate = Some(read(key, value)?),
            "buffer" => settings.buffer = Some(read(key, value)?),
            "delay" => settings.delay = Some(read(key, value)?),
            "jitter" => settings.jitter = Some(read(key, value)?),
            "loss" => settings.loss = Some(read(key, value)?),
            "priority" => {
                settings.priority = Some(
                    items(value)
                        .map(|m| read(key, m))
                        .collect::<Result<_, _>>()?,
                );
            }
            "police" => settings.police = Some(read(key, value)?),
            "police_burst" => settings.police_burst = Some(read(key, value)?),
            "remark" => {
                let mut remark = BTreeMap::new();
                for item in items(value) {
                    let wrong = || SettingsError::Remark(item.to_owned());
                    let (from, to) = item.split_once(':').ok_or_else(wrong)?;
                    note_remark(&mut remark, MarkKey(read(key, from)?), read(key, to)?)?;
                }
                settings.remark = Some(remark);
            }
            "bleach" => {
                settings.bleach = Some(match value {
                    "on" | "true" => true,
                    "off" | "false" => false,
                    _ => return Err(SettingsError::Switch(value.to_owned())),
                });
            }
            _ => return Ok(None),
        }
        Ok(Some(()))
    }
}

/// The parts of a list, `none` being the empty one.
fn items(value: &str) -> impl Iterator<Item = &str> {
    let value = if value == "none" { "" } else { value };
    value.split(',').filter(|item| !item.is_empty())
}

fn read<T: std::str::FromStr<Err = UnitError>>(key: &str, value: &str) -> Result<T, SettingsError> {
    value.parse().map_err(|why| SettingsError::Value {
        key: key.to_owned(),
        why,
    })
}

fn bytes_in(bits_per_second: u64, time: Duration) -> u64 {
    (bits_per_second as f64 * time.as_secs_f64() / 8.0) as u64
}
