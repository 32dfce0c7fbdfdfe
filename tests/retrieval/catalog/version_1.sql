-- A catalog as version 1 of its tables left it. Never changed: newer programs must open it.
BEGIN TRANSACTION;
CREATE TABLE corpora (
        tenant TEXT NOT NULL,
        corpus_id TEXT NOT NULL,
        display_name TEXT NOT NULL,
        labels TEXT NOT NULL,              -- a JSON object
        embedder TEXT NOT NULL,
        deleting INTEGER NOT NULL DEFAULT 0,
        create_time INTEGER NOT NULL,      -- all times in microseconds since 1970, UTC
        update_time INTEGER NOT NULL,
        PRIMARY KEY (tenant, corpus_id)
    ) STRICT, WITHOUT ROWID
    ;
INSERT INTO "corpora" VALUES('acme','handbook','The handbook','{"team": "people"}','all-MiniLM-L6-v2/int8/0123456789abcdef',0,1763769600000000,1763769600000005);
INSERT INTO "corpora" VALUES('acme','leaving','','{}','all-MiniLM-L6-v2/int8/0123456789abcdef',1,1763769600000000,1763769600000000);
INSERT INTO "corpora" VALUES('globex','handbook','','{}','other/1',0,1763769600000000,1763769600000000);
CREATE TABLE documents (
        tenant TEXT NOT NULL,
        corpus_id TEXT NOT NULL,
        document_id TEXT NOT NULL,
        revision INTEGER NOT NULL,
        title TEXT NOT NULL,
        found_title TEXT NOT NULL DEFAULT '',
        uri TEXT NOT NULL,
        media_type TEXT NOT NULL,
        found_media_type TEXT NOT NULL DEFAULT '',
        metadata BLOB NOT NULL,
        size_bytes INTEGER NOT NULL,
        sha256 TEXT NOT NULL,
        state INTEGER NOT NULL,            -- DocumentState
        error BLOB NOT NULL DEFAULT x'',
        passage_count INTEGER NOT NULL DEFAULT 0,
        crashes INTEGER NOT NULL DEFAULT 0,
        interruptions INTEGER NOT NULL DEFAULT 0,
        unstored INTEGER NOT NULL DEFAULT 0,   -- changed here, and perhaps not yet in the store
        deleting INTEGER NOT NULL DEFAULT 0,
        create_time INTEGER NOT NULL,
        update_time INTEGER NOT NULL,
        PRIMARY KEY (tenant, corpus_id, document_id),
        FOREIGN KEY (tenant, corpus_id) REFERENCES corpora (tenant, corpus_id)
    ) STRICT
    ;
INSERT INTO "documents" VALUES('acme','handbook','leave',1,'Leave','Found','leave.txt','','text/plain',X'',5,'2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824',3,X'',2,0,0,0,0,1763769600000000,1763769600000001);
INSERT INTO "documents" VALUES('acme','handbook','pending',2,'','Found','','','text/plain',X'',5,'d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa',1,X'',0,1,0,0,0,1763769600000000,1763769600000002);
INSERT INTO "documents" VALUES('acme','handbook','broken',3,'','Found','','','text/plain',X'',5,'f526795c95399cea27c055c842c3d6ab018ed0fa4f66f701c28ab22dec28237b',4,X'0809',0,0,0,0,0,1763769600000000,1763769600000003);
INSERT INTO "documents" VALUES('acme','handbook','working',4,'','Found','','','text/plain',X'',5,'2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824',2,X'',0,0,0,0,0,1763769600000000,1763769600000004);
CREATE TABLE request_ids (
        tenant TEXT NOT NULL,
        request_id TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        resource TEXT NOT NULL,
        create_time INTEGER NOT NULL,
        PRIMARY KEY (tenant, request_id)
    ) STRICT, WITHOUT ROWID
    ;
INSERT INTO "request_ids" VALUES('acme','6f1c2a9e-0000-4000-8000-000000000000','abc','corpora/handbook',1763769600000000);
CREATE TABLE settings (
        key TEXT PRIMARY KEY,
        value ANY NOT NULL
    ) STRICT, WITHOUT ROWID
    ;
INSERT INTO "settings" VALUES('revision',4);
INSERT INTO "settings" VALUES('token_key',X'5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A');
CREATE INDEX documents_by_content ON documents (tenant, sha256);
CREATE INDEX documents_counted ON documents (tenant, corpus_id, deleting, passage_count);
CREATE INDEX jobs ON documents (crashes + interruptions, revision) WHERE state = 1 AND deleting = 0;
CREATE INDEX jobs_under_way ON documents (state) WHERE state = 2;
CREATE INDEX documents_unfinished ON documents (deleting) WHERE deleting = 1 OR unstored = 1;
CREATE INDEX request_ids_by_age ON request_ids (create_time);
COMMIT;
PRAGMA user_version = 1;
