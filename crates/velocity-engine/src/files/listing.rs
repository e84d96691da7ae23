pub struct Entry {
    pub name: Vec<u8>,
    pub directory: bool,
    pub size: u64,
    pub modified: Option<std::time::SystemTime>,
}
#[derive(Clone, Copy)]
pub struct Order;
impl Order {
    pub fn from_query(_q: Option<&str>) -> Self {
        Order
    }
}
pub fn html(_p: &[u8], _e: &mut [Entry], _o: Order, _t: bool) -> String {
    String::new()
}
pub fn json(_p: &[u8], _e: &mut [Entry], _o: Order, _t: bool) -> String {
    String::new()
}
pub const CSP: &str = "default-src 'none'";
