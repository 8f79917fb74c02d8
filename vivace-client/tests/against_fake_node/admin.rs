//! `vivace admin`: what an operator does when a site is gone.

use crate::authority::Authority;
use crate::command::Shell;
use crate::fake_node::FakeNode;
use crate::store::Store;

fn shell() -> Shell {
    let authority = Authority::new();
    let node = FakeNode::serving(&authority, &Store::losing(&["a", "b"]));
    Shell::new(&authority, node)
}

#[tokio::test]
async fn lost_lists_every_page_and_names_silent_nodes() {
    let ended = shell().run(&["admin", "lost", "orders"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let text = ended.text();
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].starts_with("orders/a  lost: version 7@"),
        "{lines:?}"
    );
    assert!(lines[1].starts_with("orders/b  "), "{lines:?}");
    assert!(ended.stderr.contains("node 3 did not answer"), "{ended:?}");
}

#[tokio::test]
async fn accept_loss_never_goes_on_without_a_yes() {
    let shell = shell();
    let asked = shell.run(&["admin", "accept-loss", "orders/a"]).await;
    assert_eq!(asked.code, Some(2), "{asked:?}");
    assert!(asked.stderr.contains("--yes"), "{asked:?}");
    let all = shell
        .run(&["admin", "accept-loss", "--yes", "orders"])
        .await;
    assert!(all.stderr.contains("--all"), "{all:?}");
    let both = shell
        .run(&["admin", "accept-loss", "--all", "--yes", "orders/a"])
        .await;
    assert_eq!(both.code, Some(2), "{both:?}");
    let left = shell.run(&["admin", "lost", "orders"]).await;
    assert_eq!(left.text().lines().count(), 2, "nothing was given up");
}

#[tokio::test]
async fn accept_loss_gives_up_one_object_or_all() {
    let shell = shell();
    let one = shell
        .run(&["admin", "accept-loss", "--yes", "orders/a"])
        .await;
    assert!(one.text().starts_with("gave up orders/a  "), "{one:?}");
    let again = shell
        .run(&["admin", "accept-loss", "--yes", "orders/a"])
        .await;
    assert_eq!(again.code, Some(16), "{again:?}");
    assert!(
        again.stderr.contains("orders/a is not lost") && again.stderr.contains("vivace admin lost"),
        "{again:?}"
    );
    let all = shell
        .run(&["admin", "accept-loss", "--all", "--yes", "orders"])
        .await;
    assert!(all.text().starts_with("gave up orders/b  "), "{all:?}");
    // All of nothing is given up without harm.
    let all = shell
        .run(&["admin", "accept-loss", "--all", "--yes", "orders"])
        .await;
    assert_eq!(all.code, Some(0), "{all:?}");
    let none = shell.run(&["admin", "lost", "orders"]).await;
    assert!(none.text().starts_with("nothing is lost"), "{none:?}");
}
