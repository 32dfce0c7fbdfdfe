PRAGMA application_id = 0;
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
INSERT INTO "corpora" VALUES('local','default','','{}','all-MiniLM-L6-v2/int8/6313e17b303ac424',0,1795399475841062,1795399475841062);
INSERT INTO "corpora" VALUES('local','handbook','The handbook','{"team": "harbour", "zustand": "gültig"}','all-MiniLM-L6-v2/int8/6313e17b303ac424',0,1795399475100688,1795399475100688);
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
INSERT INTO "documents" VALUES('local','handbook','lighthouse',1,'The Lighthouse','Lighthouse','docs/lighthouse.md','text/markdown','text/markdown',X'2A130A07636865636B656412082A0608C0ABD2CF062A130A0668656967687412091900000000004043402A100A086C616E677561676512040A02656E2A090A036C6974120220012A160A0474616773120E320C0A037365610A056C696768742A0B0A0479656172120310C00E',136,'58ff09deb28ca9abc86dcbdff909a913d5cf9944fcb633b6e411df21b6d7a6bc',3,X'',1,0,0,0,0,1795399475120495,1795399475814330);
INSERT INTO "documents" VALUES('local','handbook','ferry',2,'','fähre','docs/fähre.txt','','text/plain',X'2A100A086C616E677561676512040A026465',76,'53f856ba8155cabb9f3e97e58524e7d28e744e488ca48f926179c3781e3e3104',3,X'',1,0,0,0,0,1795399475823827,1795399475836608);
INSERT INTO "documents" VALUES('local','default','cook',3,'','cook','cook.txt','','text/plain',X'',74,'e9c123f0236b37bdcb5c758b8ea2c95df9db133aa47e88539918376b5ffb7fbd',3,X'',1,0,0,0,0,1795399475843790,1795399475878272);
INSERT INTO "documents" VALUES('local','default','broken',4,'','','broken.pdf','','',X'',25,'b4d60346eb432225e8863a1316069bb69b9a0c801f085f939e220962102b1c03',4,X'08091235746865205044462069732064616D61676564206F7220696E636F6D706C65746520616E642063616E6E6F74206265206F70656E65641A7A0A28747970652E676F6F676C65617069732E636F6D2F676F6F676C652E7270632E4572726F72496E666F124E0A13444F43554D454E545F554E5245414441424C4512096865616477617465721A2C0A08646F63756D656E741220636F72706F72612F64656661756C742F646F63756D656E74732F62726F6B656E',0,0,0,0,0,1795399475883800,1795399475945493);
INSERT INTO "documents" VALUES('local','handbook','pending',5,'','','','','',X'',64,'d0d80974aff004631a866f04dd0a394885b8ad4190bf8b1bd997d605cb1e77f1',2,X'',0,0,0,0,0,1795399475950543,1795399475952304);
CREATE TABLE request_ids (
        tenant TEXT NOT NULL,
        request_id TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        resource TEXT NOT NULL,
        create_time INTEGER NOT NULL,
        PRIMARY KEY (tenant, request_id)
    ) STRICT, WITHOUT ROWID
    ;
CREATE TABLE settings (
        key TEXT PRIMARY KEY,
        value ANY NOT NULL
    ) STRICT, WITHOUT ROWID
    ;
INSERT INTO "settings" VALUES('revision',5);
INSERT INTO "settings" VALUES('token_key',X'0000000000000000000000000000000000000000000000000000000000000000');
CREATE INDEX documents_by_content ON documents (tenant, sha256);
CREATE INDEX documents_counted ON documents (tenant, corpus_id, deleting, passage_count);
CREATE INDEX jobs ON documents (crashes + interruptions, revision) WHERE state = 1 AND deleting = 0;
CREATE INDEX jobs_under_way ON documents (state) WHERE state = 2;
CREATE INDEX documents_unfinished ON documents (deleting) WHERE deleting = 1 OR unstored = 1;
CREATE INDEX request_ids_by_age ON request_ids (create_time);
COMMIT;
PRAGMA user_version = 1;
