//! Kamailio's own tables, by their column names.

/// Version of `presentity` in the `version` table.
pub const PRESENTITY_VERSION: u32 = 5;
/// Version of `active_watchers`.
pub const ACTIVE_WATCHERS_VERSION: u32 = 12;
/// Version of `watchers`.
pub const WATCHERS_VERSION: u32 = 3;

macro_rules! columns {
    ($($name:ident = $text:literal,)+) => {
        $(
            #[allow(missing_docs)]
            pub const $name: kamailio::db::Column = $text;
        )+
    };
}

columns! {
    ID = "id",
    USERNAME = "username",
    DOMAIN = "domain",
    EVENT = "event",
    ETAG = "etag",
    EXPIRES = "expires",
    RECEIVED_TIME = "received_time",
    BODY = "body",
    SENDER = "sender",
    PRIORITY = "priority",
    RUID = "ruid",
    PRESENTITY_URI = "presentity_uri",
    WATCHER_USERNAME = "watcher_username",
    WATCHER_DOMAIN = "watcher_domain",
    TO_USER = "to_user",
    TO_DOMAIN = "to_domain",
    FROM_USER = "from_user",
    FROM_DOMAIN = "from_domain",
    EVENT_ID = "event_id",
    TO_TAG = "to_tag",
    FROM_TAG = "from_tag",
    CALLID = "callid",
    LOCAL_CSEQ = "local_cseq",
    REMOTE_CSEQ = "remote_cseq",
    CONTACT = "contact",
    RECORD_ROUTE = "record_route",
    STATUS = "status",
    REASON = "reason",
    VERSION = "version",
    SOCKET_INFO = "socket_info",
    LOCAL_CONTACT = "local_contact",
    UPDATED = "updated",
    UPDATED_WINFO = "updated_winfo",
    FLAGS = "flags",
    USER_AGENT = "user_agent",
    INSERTED_TIME = "inserted_time",
}
