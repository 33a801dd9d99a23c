//! A terminal that tmux draws: what a person would see.

use std::process::Command;

use super::{PATIENCE, within};

/// A terminal with one shell; gone when dropped.
pub struct Terminal {
    files: tempfile::TempDir,
}

impl Terminal {
    /// Opens it and runs a command there, which is followed by `ended with N`. `None`: there is no tmux here.
    pub fn open((width, height): (u16, u16), command: &str) -> Option<Self> {
        if Command::new("tmux").arg("-V").output().is_err() {
            println!("skipped: no tmux here");
            return None;
        }
        let terminal = Self {
            files: tempfile::tempdir().expect("a temporary folder"),
        };
        let script = format!(
            "PS1='$ '; export TERM=xterm; trap : INT; clear; {command}; echo \"ended with $?\"; exec sh"
        );
        let (width, height) = (width.to_string(), height.to_string());
        terminal.tmux(&[
            "new-session",
            "-d",
            "-x",
            &width,
            "-y",
            &height,
            "sh",
            "-c",
            &script,
        ]);
        Some(terminal)
    }

    fn tmux(&self, words: &[&str]) -> String {
        let socket = self.files.path().join("tmux");
        let output = Command::new("tmux")
            .arg("-S")
            .arg(&socket)
            .args(["-f", "/dev/null"])
            .args(words)
            .env("LC_ALL", "C.UTF-8")
            .output()
            .expect("tmux");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What it shows.
    pub fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits until it shows that text.
    #[track_caller]
    pub fn shows(&self, text: &str) {
        let there = within(PATIENCE * 3, || self.screen().contains(text));
        assert!(there, "no \"{text}\" in:\n{}", self.screen());
    }

    /// Types a line, or a key such as `C-c`.
    pub fn types(&self, text: &str) {
        if text.starts_with("C-") {
            self.tmux(&["send-keys", text]);
        } else {
            self.tmux(&["send-keys", text, "Enter"]);
        }
    }

    pub fn resize(&self, width: u16, height: u16) {
        let (width, height) = (width.to_string(), height.to_string());
        self.tmux(&["resize-window", "-x", &width, "-y", &height]);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}
