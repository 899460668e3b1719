//! What can be set on a board, and how it is written: `name=value`.

use core::fmt;
use core::net::Ipv4Addr;

use embassy_time::Duration;

use crate::BLOCKS;
use crate::link::Ip;

/// What a node on a board is to do.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// The network's name, 1 to 64 bytes. Default `butter`.
    pub network: &'a str,
    /// The secret of a closed network. Default: an open one.
    pub secret: Option<[u8; 32]>,
    /// Where the IPv4 address comes from. Default DHCP.
    pub ip: Ip,
    /// How often a reading is stored in the network. Default: never.
    pub reading: Option<Duration>,
    /// Blocks of 4,096 bytes given to the network, at most [`BLOCKS`]. Default all; 0 keeps nothing for others.
    pub blocks: u32,
}

impl Default for Settings<'_> {
    fn default() -> Self {
        Settings { network: "butter", secret: None, ip: Ip::Dhcp, reading: None, blocks: BLOCKS as u32 }
    }
}

/// A setting that makes no sense: which, and what it should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wrong<'a> {
    /// As it was written.
    pub setting: &'a str,
    /// What would be right.
    pub wanted: &'static str,
}

impl fmt::Display for Wrong<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: should be {}", self.setting, self.wanted)
    }
}

impl core::error::Error for Wrong<'_> {}

impl<'a> Settings<'a> {
    /// Takes one setting: `network=NAME`, `secret=` and 64 hexadecimal digits, `ip=A.B.C.D/LENGTH` or `ip=dhcp`, `reading=SECONDS`
    /// (0: never), `blocks=NUMBER`.
    ///
    /// # Errors
    /// Says what is wrong; then nothing was set.
    pub fn set(&mut self, setting: &'a str) -> Result<(), Wrong<'a>> {
        let wrong = |wanted| Wrong { setting, wanted };
        let names = wrong("network=NAME, secret=HEX, ip=A.B.C.D/LENGTH, ip=dhcp, reading=SECONDS or blocks=NUMBER");
        let (name, value) = setting.split_once('=').ok_or(names)?;
        match name {
            "network" if (1..=64).contains(&value.len()) => self.network = value,
            "network" => return Err(wrong("a name of 1 to 64 bytes")),
            "secret" => self.secret = Some(secret(value).ok_or(wrong("64 hexadecimal digits"))?),
            "ip" if value == "dhcp" => self.ip = Ip::Dhcp,
            "ip" => self.ip = static_ip(value).ok_or(wrong("dhcp, or an address such as 192.168.1.7/24"))?,
            "reading" => {
                let seconds: u32 = value.parse().map_err(|_| wrong("a number of seconds, 0 for never"))?;
                self.reading = (seconds > 0).then_some(Duration::from_secs(seconds.into()));
            }
            "blocks" => self.blocks = value.parse().map_err(|_| wrong("a number of blocks of 4096 bytes"))?,
            _ => return Err(names),
        }
        Ok(())
    }
}

fn static_ip(text: &str) -> Option<Ip> {
    let (address, length) = text.split_once('/')?;
    let address: Ipv4Addr = address.parse().ok()?;
    let prefix_len = length.parse().ok().filter(|length| *length <= 32)?;
    Some(Ip::Static { address, prefix_len })
}

fn secret(text: &str) -> Option<[u8; 32]> {
    let mut secret = [0; 32];
    if text.len() != 2 * secret.len() {
        return None;
    }
    for (byte, digits) in secret.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(core::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read() {
        let mut settings = Settings::default();
        let secret = "00ff".repeat(16);
        let secret = std::format!("secret={secret}");
        for setting in ["network=farm", &secret, "ip=10.1.2.3/24", "reading=30", "blocks=4"] {
            settings.set(setting).unwrap();
        }
        assert_eq!((settings.network, settings.blocks), ("farm", 4));
        assert_eq!(settings.secret.unwrap()[..4], [0, 255, 0, 255]);
        assert_eq!(settings.ip, Ip::Static { address: Ipv4Addr::new(10, 1, 2, 3), prefix_len: 24 });
        assert_eq!(settings.reading, Some(Duration::from_secs(30)));
        settings.set("reading=0").unwrap();
        settings.set("ip=dhcp").unwrap();
        assert_eq!((settings.reading, settings.ip), (None, Ip::Dhcp));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let mut settings = Settings::default();
        for setting in
            ["", "colour=red", "network=", "secret=12", "secret=+1", "ip=10.1.2.3", "ip=1.2.3.4/33", "reading=x"]
        {
            let wrong = settings.set(setting).unwrap_err();
            assert_eq!(wrong.setting, setting);
            assert!(!wrong.wanted.is_empty());
        }
        assert_eq!((settings.network, settings.secret), ("butter", None));
    }

    extern crate std;
}
