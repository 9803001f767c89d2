//! Where the services are that tests need.

/// The value of the variable `name`, which says where a service is. Without it, `what` is skipped with a
/// printed line or, where `CI` or `HEADWATER_REQUIRE_SERVICES` is set, fails.
pub fn service(name: &str, what: &str) -> Option<String> {
    let found = std::env::var(name).ok();
    if found.is_none() {
        let required = ["CI", "HEADWATER_REQUIRE_SERVICES"].iter().any(|name| std::env::var_os(name).is_some());
        assert!(!required, "{what}: {name} is not set, and here every service is required");
        println!("skipped: {what}, since {name} is not set");
    }
    found
}
