//! A new journal in an empty directory.

use super::appender::Appender;
use super::committer::Committer;
use super::disk::{Disk, DiskError, DiskFile};
use super::keeper::{Keeper, State, put_header};
use super::mark::Mark;
use super::open_error::OpenError;
use super::recovery::{Opened, read_whole};
use super::sector::{Place, SECTOR_BYTES};
use super::segment::Link;
use super::{Identity, Settings, names};

/// Makes a new journal in an empty directory. Until it returns, the directory holds
/// none, or one without records, over which it may be called again.
///
/// # Errors
/// [`OpenError::Exists`] where there are records already, [`OpenError::Disk`].
pub fn create<D: Disk>(
    disk: D,
    identity: Identity,
    settings: Settings,
) -> Result<Opened<D>, OpenError> {
    settings.check();
    let mut blank = Vec::new();
    for file in disk.list()? {
        let is_checkpoint = names::parse_checkpoint(&file).is_some();
        let is_segment = names::parse_segment(&file).is_some();
        if is_checkpoint || is_segment && !is_blank(&disk, &file)? {
            return Err(OpenError::Exists { file });
        }
        if is_segment {
            blank.push(file);
        }
    }
    // Not before all are known to be: a refusal changes nothing.
    for file in blank {
        disk.remove(&file)?;
    }
    let mark = disk.create(names::MARK, SECTOR_BYTES as u64)?;
    let nothing = Mark {
        generation: 1,
        end: Place::FIRST,
    };
    nothing.put(&mark, &identity)?;
    let file = disk.create(names::SEGMENT_NEW, u64::from(settings.segment_bytes))?;
    let segment = put_header(file, &identity, 1, settings.segment_bytes)?;
    disk.rename(names::SEGMENT_NEW, &names::segment(1))?;
    disk.sync_dir()?;
    let state = State {
        covered: 0,
        checkpoint_bytes: 0,
        sealed: Vec::new(),
        free: Vec::new(),
        next_generation: 2,
        ahead: 0,
    };
    Ok(Opened {
        appender: Appender::new(segment, Place::FIRST, Vec::new(), Link::NONE),
        committer: Committer::new(identity.directory, mark),
        keeper: Keeper::new(disk, identity, settings, state),
        torn: None,
        mark_trouble: None,
    })
}

fn is_blank<D: Disk>(disk: &D, name: &str) -> Result<bool, DiskError> {
    let file = disk.open(name)?;
    let bytes = read_whole(&file, file.bytes()?, Vec::new())?;
    let content = bytes.get(SECTOR_BYTES..).unwrap_or_default();
    Ok(content.iter().all(|&byte| byte == 0))
}
