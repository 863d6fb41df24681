//! A Windows machine in memory: speaks the protocol of `windows/program/*.ps1` as that does, and keeps files in a folder of this
//! machine. What it can't show is whether PowerShell, IIS and NTFS do what the program asks of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use staith_model::Digest;
use staith_releaser::fleet::{machine::MachineError, windows::PowerShell, wire::Wire};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream};

/// What comes between the program and us.
#[derive(Clone, Copy, Default)]
pub(crate) struct Between {
    /// A PowerShell as the default shell folds lines at this width, with `\r\n`.
    pub(crate) fold: Option<usize>,
    /// Whether something prints a banner and stray lines.
    pub(crate) noise: bool,
}

/// The machine.
#[derive(Clone)]
pub(crate) struct Fake {
    dir: Arc<tempfile::TempDir>,
    state: Arc<Mutex<State>>,
    between: Between,
}

#[derive(Default)]
struct State {
    epoch: u64,
    current: Option<String>,
    previous: Option<String>,
    under_way: Option<String>,
    restarted: Option<String>,
    /// The release that the site's path leads to.
    site: Option<String>,
    started: bool,
    hooks: BTreeMap<String, Value>,
    begun: Value,
    /// What was asked, in order.
    asked: Vec<String>,
    /// Lines of data that came.
    data: usize,
    /// The connection breaks after so many lines of data.
    break_after: Option<usize>,
}

/// Ends a request.
enum No {
    Say(Value),
    Gone,
}

fn not(kind: &str, text: &str) -> No {
    No::Say(json!({ "say": "not", "why": "impossible", "kind": kind, "text": text }))
}

impl Fake {
    pub(crate) fn new() -> Self {
        Self {
            dir: Arc::new(tempfile::tempdir().unwrap()),
            state: Arc::default(),
            between: Between::default(),
        }
    }

    pub(crate) fn behind(mut self, between: Between) -> Self {
        self.between = between;
        self
    }

    pub(crate) fn break_after(&self, lines: Option<usize>) {
        self.state.lock().unwrap().break_after = lines;
    }

    /// What was asked since the last time.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }

    /// How many lines of data came since the last time.
    pub(crate) fn data(&self) -> usize {
        std::mem::take(&mut self.state.lock().unwrap().data)
    }

    pub(crate) fn begun(&self) -> Value {
        self.state.lock().unwrap().begun.clone()
    }

    pub(crate) fn release(&self, release: &str) -> PathBuf {
        self.dir.path().join(release)
    }

    fn list(&self, release: &str) -> PathBuf {
        self.dir.path().join(format!("{release}.files"))
    }

    fn releases(&self) -> Vec<String> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.dir.path()).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if let Some(release) = name.strip_suffix(".files")
                && self.release(release).is_dir()
            {
                found.push(release.to_owned());
            }
        }
        found
    }

    async fn serve(self, io: DuplexStream, mark: String, digest: String) {
        let (from, to) = tokio::io::split(io);
        let mut talk = Talk { from: BufReader::new(from), to, mark, between: self.between };
        if self.between.noise {
            talk.raw("Only authorised users.\r\n").await;
        }
        let Some(program) = talk.line().await else { return };
        let program = STANDARD.decode(program).unwrap();
        assert_eq!(Digest::of(&program).hex().to_uppercase(), digest, "the program arrived damaged");
        assert!(String::from_utf8(program).unwrap().starts_with("param($from, $mark)"));
        while let Some(line) = talk.line().await {
            let request: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no request: {line}"));
            let ask = request["ask"].as_str().unwrap().to_owned();
            self.state.lock().unwrap().asked.push(ask.clone());
            let answered = match ask.as_str() {
                "stage" => self.stage(&request, &mut talk).await,
                "hook" => self.hook(&request),
                other => self.answer(other, &request),
            };
            match answered {
                Ok(reply) | Err(No::Say(reply)) => talk.say(&reply).await,
                Err(No::Gone) => return,
            }
        }
    }

    fn answer(&self, ask: &str, request: &Value) -> Result<Value, No> {
        let releases = self.releases();
        let mut state = self.state.lock().unwrap();
        match ask {
            "begin" => {
                state.begun = request.clone();
                Ok(json!({ "say": "hello", "protocol": 1, "version": "5.1.17763.1" }))
            }
            "reach" => Ok(json!({
                "say": "reached", "machine": "0a1b", "boot": "2026-01-01T00:00:00.0000000Z", "architecture": "AMD64",
                "system": "Microsoft Windows Server 2022 Standard 10.0.20348", "administrator": true, "free": 1_000_000_000_u64,
            })),
            "observe" => {
                let up = if state.started { "up" } else { "down" };
                Ok(json!({
                    "say": "observed", "epoch": state.epoch, "releases": releases, "current": state.now(),
                    "previous": state.previous, "serving": up, "unfinished": state.under_way,
                }))
            }
            "switch" => {
                state.admit(request)?;
                state.switch(request, &releases)
            }
            "look" => Ok(json!({
                "say": "seen", "current": state.now(), "serving": if state.started { "up" } else { "down" },
                "restarted": state.restarted, "bound": request["port"] == 80, "tls": false, "owner": null, "service": null,
                "answer": { "status": 200, "header": null },
            })),
            "retain" => {
                state.admit(request)?;
                let kept: Vec<&str> =
                    request["keep"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
                let held = [&state.current, &state.previous, &state.site];
                let mut removed = Vec::new();
                for release in releases {
                    if !kept.contains(&release.as_str()) && !held.contains(&&Some(release.clone())) {
                        fs::remove_file(self.list(&release)).unwrap();
                        fs::remove_dir_all(self.release(&release)).unwrap();
                        removed.push(release);
                    }
                }
                Ok(json!({ "say": "removed", "releases": removed }))
            }
            other => panic!("{other}"),
        }
    }

    async fn stage(&self, request: &Value, talk: &mut Talk) -> Result<Value, No> {
        self.state.lock().unwrap().admit(request)?;
        let (release, manifest) =
            (request["release"].as_str().unwrap(), request["manifest"].as_str().unwrap());
        let known = fs::read_to_string(self.list(release)).unwrap_or_default();
        if known.lines().next() == Some(manifest)
            && entries(&known).iter().all(|one| one.is_right(&self.release(release)))
        {
            return Ok(json!({ "say": "staged", "already": true }));
        }
        let new = self.dir.path().join(".new");
        let _ = fs::remove_dir_all(&new);
        talk.say(&json!({ "say": "send" })).await;
        let mut packed = Vec::new();
        loop {
            match self.data_line(talk).await?.as_str() {
                "M." => break,
                "X" => return Err(No::Say(json!({ "say": "not", "why": "cancelled" }))),
                line => packed.extend(STANDARD.decode(line.strip_prefix("M ").unwrap()).unwrap()),
            }
        }
        let text = String::from_utf8(unpack(&packed)).unwrap();
        let built = self.build(&new, &entries(&text), talk).await;
        if built.is_err() {
            let _ = fs::remove_dir_all(&new);
        }
        built?;
        let _ = fs::remove_dir_all(self.release(release));
        fs::rename(&new, self.release(release)).unwrap();
        fs::write(self.list(release), text).unwrap();
        Ok(json!({ "say": "staged", "already": false }))
    }

    async fn build(&self, new: &Path, all: &[Entry], talk: &mut Talk) -> Result<(), No> {
        fs::create_dir(new).unwrap();
        let mut first: BTreeMap<&str, usize> = BTreeMap::new();
        for (nth, one) in all.iter().enumerate() {
            let Some(hash) = &one.hash else {
                fs::create_dir_all(new.join(&one.path)).unwrap();
                continue;
            };
            fs::create_dir_all(new.join(&one.path).parent().unwrap()).unwrap();
            first.entry(hash).or_insert(nth);
        }
        let there = self.contents();
        let mut lacks = BTreeSet::new();
        for (hash, nth) in &first {
            match there.get(*hash) {
                Some(bytes) => fs::write(new.join(&all[*nth].path), bytes).unwrap(),
                None => {
                    lacks.insert(*nth);
                }
            }
        }
        talk.say(&json!({ "say": "lacks", "places": lacks })).await;
        let (mut part, mut trouble) = (Vec::new(), None);
        loop {
            let line = self.data_line(talk).await?;
            match line.as_str() {
                "E" => break,
                "X" => return Err(No::Say(json!({ "say": "not", "why": "cancelled" }))),
                _ => {}
            }
            let words: Vec<&str> = line.split(' ').collect();
            let ["C", place, last, piece] = words[..] else { panic!("{line}") };
            part.extend(STANDARD.decode(piece).unwrap());
            if last == "1" {
                let one = &all[place.parse::<usize>().unwrap()];
                let bytes = unpack(&std::mem::take(&mut part));
                if Some(Digest::of(&bytes).hex()) == one.hash {
                    fs::write(new.join(&one.path), bytes).unwrap();
                } else {
                    trouble.get_or_insert(not("content-differs", &one.path));
                }
            }
        }
        trouble.map_or(Ok(()), Err)?;
        for one in all {
            if let Some(hash) = &one.hash
                && !new.join(&one.path).exists()
            {
                fs::copy(new.join(&all[first[hash.as_str()]].path), new.join(&one.path)).unwrap();
            }
        }
        Ok(())
    }

    fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        for release in self.releases() {
            for one in entries(&fs::read_to_string(self.list(&release)).unwrap()) {
                if let (Some(hash), Ok(bytes)) = (one.hash, fs::read(self.release(&release).join(&one.path)))
                    && Digest::of(&bytes).hex() == hash
                {
                    found.insert(hash, bytes);
                }
            }
        }
        found
    }

    async fn data_line(&self, talk: &mut Talk) -> Result<String, No> {
        let line = talk.line().await.ok_or(No::Gone)?;
        let mut state = self.state.lock().unwrap();
        state.data += 1;
        if let Some(left) = &mut state.break_after {
            *left = left.checked_sub(1).ok_or(No::Gone)?;
        }
        Ok(line)
    }

    fn hook(&self, request: &Value) -> Result<Value, No> {
        let mut state = self.state.lock().unwrap();
        state.admit(request)?;
        let operation = request["operation"].as_str().unwrap().to_owned();
        if let Some(known) = state.hooks.get(&operation) {
            let mut known = known.clone();
            known["already"] = json!(true);
            return Ok(known);
        }
        let folder = self.release(request["release"].as_str().unwrap());
        let arguments = taken_apart(request["arguments"].as_str().unwrap());
        let ran = Command::new(request["program"].as_str().unwrap())
            .args(arguments)
            .current_dir(folder)
            .output()
            .unwrap();
        let said = STANDARD.encode([ran.stdout, ran.stderr].concat());
        let told = json!({ "say": "ran", "already": false, "code": ran.status.code(), "timed_out": false, "said": said });
        state.hooks.insert(operation, told.clone());
        Ok(told)
    }
}

impl State {
    fn admit(&mut self, request: &Value) -> Result<(), No> {
        let asked = request["epoch"].as_u64().unwrap();
        if asked < self.epoch {
            return Err(No::Say(
                json!({ "say": "not", "why": "too-late", "seen": self.epoch, "asked": asked }),
            ));
        }
        self.epoch = asked;
        Ok(())
    }

    fn is_msdeploy(&self) -> bool {
        self.begun["way"] == "msdeploy"
    }

    fn now(&self) -> Option<String> {
        if self.is_msdeploy() {
            return self.current.clone().filter(|current| self.restarted.as_ref() == Some(current));
        }
        self.site.clone()
    }

    fn switch(&mut self, request: &Value, releases: &[String]) -> Result<Value, No> {
        let (now, to) = (self.now(), request["to"].as_str().map(str::to_owned));
        let already = match &to {
            Some(to) if !releases.contains(to) => return Err(not("not-staged", to)),
            Some(_) => now == to && self.restarted == to && self.started,
            None => now.is_none() && self.current.is_none(),
        };
        if !already {
            let before = now.or_else(|| self.current.clone());
            if before.is_some() && before != to {
                self.previous = before;
            }
            (self.current, self.site, self.restarted) = (to.clone(), to.clone(), to.clone());
            self.started = to.is_some();
        }
        Ok(json!({ "say": "switched", "already": already }))
    }
}

struct Entry {
    hash: Option<String>,
    path: String,
}

impl Entry {
    fn is_right(&self, root: &Path) -> bool {
        let Some(hash) = &self.hash else { return root.join(&self.path).is_dir() };
        fs::read(root.join(&self.path)).is_ok_and(|bytes| Digest::of(&bytes).hex() == *hash)
    }
}

fn entries(text: &str) -> Vec<Entry> {
    let of = |line: &str| match line.split_once(' ') {
        Some(("F", rest)) => {
            let mut words = rest.splitn(3, ' ');
            let hash = words.next().map(str::to_owned);
            Some(Entry { hash, path: words.nth(1).unwrap().to_owned() })
        }
        Some(("D", path)) => Some(Entry { hash: None, path: path.to_owned() }),
        _ => None,
    };
    text.lines().filter_map(of).collect()
}

fn unpack(packed: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    flate2::read::DeflateDecoder::new(packed).read_to_end(&mut bytes).unwrap();
    bytes
}

/// As Windows takes a line of arguments apart, where quotes stand around whole ones.
fn taken_apart(line: &str) -> Vec<String> {
    let (mut words, mut word, mut inside, mut backslashes) = (Vec::new(), String::new(), false, 0);
    for c in line.chars().chain([' ']) {
        match c {
            '"' if backslashes % 2 == 1 => {
                word.truncate(word.len() - backslashes / 2 - 1);
                word.push('"');
            }
            '"' => {
                word.truncate(word.len() - backslashes / 2);
                inside = !inside;
            }
            ' ' if !inside => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
        backslashes = if c == '\\' { backslashes + 1 } else { 0 };
    }
    words
}

struct Talk {
    from: BufReader<tokio::io::ReadHalf<DuplexStream>>,
    to: tokio::io::WriteHalf<DuplexStream>,
    mark: String,
    between: Between,
}

impl Talk {
    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.from.read_line(&mut line).await.ok().filter(|length| *length > 0)?;
        assert!(line.is_ascii() && line.ends_with('\n'), "{line:?}");
        Some(line.trim_end().to_owned())
    }

    async fn raw(&mut self, text: &str) {
        let _ = self.to.write_all(text.as_bytes()).await;
    }

    async fn say(&mut self, reply: &Value) {
        if self.between.noise {
            self.raw("WARNING: a module said something (and more)\r\n").await;
        }
        // As the program does: no spaces.
        let json = reply.to_string().replace(' ', "\\u0020");
        let line = format!("{0}({json}){0}", self.mark);
        match self.between.fold {
            None => self.raw(&(line + "\n")).await,
            Some(width) => {
                for piece in line.as_bytes().chunks(width) {
                    self.raw(&format!("{}\r\n", std::str::from_utf8(piece).unwrap())).await;
                }
            }
        }
    }
}

/// The text that `-EncodedCommand` hands over.
pub(crate) fn start_of(command: &str) -> String {
    let encoded = command.rsplit(' ').next().unwrap();
    let bytes = STANDARD.decode(encoded).unwrap();
    let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    String::from_utf16(&units).unwrap()
}

pub(crate) fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let rest = text.split_once(before).unwrap().1;
    rest.split_once(after).unwrap().0
}

#[async_trait]
impl PowerShell for Fake {
    async fn start(&self, _: &str, command: &str) -> Result<Wire, MachineError> {
        assert!(command.starts_with("powershell.exe -NoLogo -NoProfile -NonInteractive "), "{command}");
        let start = start_of(command);
        let mark = between(&start, "$from '", "'").to_owned();
        let digest = between(&start, "-ne '", "'").to_owned();
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        tokio::spawn(self.clone().serve(theirs, mark, digest));
        let (from, to) = tokio::io::split(ours);
        Ok(Wire { from: Box::new(from), to: Box::new(to) })
    }
}
