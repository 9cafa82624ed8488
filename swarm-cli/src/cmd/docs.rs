//! `swarm completions` and `swarm man`: from the same definitions as `--help`.

use clap_complete::Shell;
use clap_mangen::Man;

use crate::args::command;
use crate::exit::{Code, Failure};
use crate::view::write_listing;

pub(crate) fn completions(shell: Shell) -> Result<Code, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), "swarm", &mut script);
    write_listing(&script)?;
    Ok(Code::Done)
}

pub(crate) fn man() -> Result<Code, Failure> {
    let page = page().map_err(|error| Failure::new(Code::Internal, error.to_string()))?;
    write_listing(&page)?;
    Ok(Code::Done)
}

/// One page for everything: the commands' own sections become subsections of theirs.
fn page() -> std::io::Result<Vec<u8>> {
    let mut cli = command();
    cli.build();
    let whole = Man::new(cli.clone());
    let mut page = Vec::new();
    whole.render_title(&mut page)?;
    whole.render_name_section(&mut page)?;
    whole.render_synopsis_section(&mut page)?;
    whole.render_description_section(&mut page)?;
    for inner in cli.get_subcommands().filter(|inner| inner.get_name() != "help") {
        let man = Man::new(inner.clone());
        let mut sections = Vec::new();
        man.render_synopsis_section(&mut sections)?;
        man.render_description_section(&mut sections)?;
        man.render_options_section(&mut sections)?;
        let heading = format!(".SH \"SWARM {}\"\n", inner.get_name().to_uppercase());
        page.extend(heading.bytes());
        let sections = String::from_utf8_lossy(&sections).replace(".SH ", ".SS ");
        page.extend(sections.bytes());
    }
    whole.render_extra_section(&mut page)?;
    whole.render_version_section(&mut page)?;
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_holds_every_command_and_its_flags() {
        let page = String::from_utf8(page().unwrap()).unwrap();
        for expected in
            ["SWARM SEED", "SWARM FETCH", "until\\-copies", "stall\\-timeout", "SWARM_UP"]
        {
            assert!(page.contains(expected), "{expected}");
        }
        assert_eq!(page.matches(".TH ").count(), 1);
    }
}
