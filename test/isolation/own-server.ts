// Rules over roles look at a whole server, and other files' tests break them on purpose. So whoever imports this has
// a server of its own: testDatabase starts one where none is named.
delete process.env.TEST_DATABASE_URL
