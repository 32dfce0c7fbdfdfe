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
        update_time INTEGER NOT NULL, checksum INTEGER NOT NULL DEFAULT 0, embedder_name TEXT NOT NULL DEFAULT 'builtin/all-MiniLM-L6-v2', dimension INTEGER NOT NULL DEFAULT 384, max_characters INTEGER NOT NULL DEFAULT 0, overlap_characters INTEGER, language TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (tenant, corpus_id)
    ) STRICT, WITHOUT ROWID
    ;
INSERT INTO "corpora" VALUES('local','default','','{}','all-MiniLM-L6-v2/int8/6313e17b303ac424',0,1795399475841062,1795399475841062,3800903365,'builtin/all-MiniLM-L6-v2',384,0,NULL,'');
INSERT INTO "corpora" VALUES('local','handbook','The handbook','{"team": "harbour", "zustand": "gültig"}','all-MiniLM-L6-v2/int8/6313e17b303ac424',0,1795399475100688,1795399475100688,351146524,'builtin/all-MiniLM-L6-v2',384,0,NULL,'');
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
        update_time INTEGER NOT NULL, checksum INTEGER NOT NULL DEFAULT 0, replaces INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (tenant, corpus_id, document_id),
        FOREIGN KEY (tenant, corpus_id) REFERENCES corpora (tenant, corpus_id)
    ) STRICT
    ;
INSERT INTO "documents" VALUES('local','handbook','lighthouse',1,'The Lighthouse','Lighthouse','docs/lighthouse.md','text/markdown','text/markdown',X'2A130A07636865636B656412082A0608C0ABD2CF062A130A0668656967687412091900000000004043402A100A086C616E677561676512040A02656E2A090A036C6974120220012A160A0474616773120E320C0A037365610A056C696768742A0B0A0479656172120310C00E',136,'58ff09deb28ca9abc86dcbdff909a913d5cf9944fcb633b6e411df21b6d7a6bc',3,X'',1,0,0,0,0,1795399475120495,1795399475814330,3435971953,0);
INSERT INTO "documents" VALUES('local','handbook','ferry',2,'','fähre','docs/fähre.txt','','text/plain',X'2A100A086C616E677561676512040A026465',76,'53f856ba8155cabb9f3e97e58524e7d28e744e488ca48f926179c3781e3e3104',3,X'',1,0,0,0,0,1795399475823827,1795399475836608,680417997,0);
INSERT INTO "documents" VALUES('local','default','cook',3,'','cook','cook.txt','','text/plain',X'',74,'e9c123f0236b37bdcb5c758b8ea2c95df9db133aa47e88539918376b5ffb7fbd',3,X'',1,0,0,0,0,1795399475843790,1795399475878272,988566245,0);
INSERT INTO "documents" VALUES('local','default','broken',4,'','','broken.pdf','','',X'',25,'b4d60346eb432225e8863a1316069bb69b9a0c801f085f939e220962102b1c03',4,X'08091235746865205044462069732064616D61676564206F7220696E636F6D706C65746520616E642063616E6E6F74206265206F70656E65641A7A0A28747970652E676F6F676C65617069732E636F6D2F676F6F676C652E7270632E4572726F72496E666F124E0A13444F43554D454E545F554E5245414441424C4512096865616477617465721A2C0A08646F63756D656E741220636F72706F72612F64656661756C742F646F63756D656E74732F62726F6B656E',0,0,0,0,0,1795399475883800,1795399475945493,3261545053,0);
INSERT INTO "documents" VALUES('local','handbook','pending',5,'','pending','','','text/plain',X'',64,'d0d80974aff004631a866f04dd0a394885b8ad4190bf8b1bd997d605cb1e77f1',3,X'',1,0,1,0,0,1795399475950543,1795411413150346,61830541,0);
INSERT INTO "documents" VALUES('local','handbook','mole',6,'Die Mole','mole','mole.txt','','text/plain',X'',164,'7cfbaad5f05494d8a55ffae808ec1c5d51c3bcb64309d0d727b27cc58cea6c3e',3,X'',1,0,0,0,0,1795411413153736,1795411413168788,3049610732,0);
CREATE TABLE reembedded (              -- the documents whose new passages are in the store
        tenant TEXT NOT NULL,
        shadow_id TEXT NOT NULL,
        document_id TEXT NOT NULL,
        revision INTEGER NOT NULL,         -- as the document had them
        update_time INTEGER NOT NULL,
        passage_count INTEGER NOT NULL,
        error BLOB NOT NULL,               -- a google.rpc.Status where it could not be read anew; else empty
        PRIMARY KEY (tenant, shadow_id, document_id),
        FOREIGN KEY (tenant, shadow_id) REFERENCES reembeddings (tenant, shadow_id)
    ) STRICT, WITHOUT ROWID
    ;
CREATE TABLE reembeddings (
        tenant TEXT NOT NULL,
        shadow_id TEXT NOT NULL,           -- the corpus of the store that takes the new passages
        corpus_id TEXT NOT NULL,
        embedder_name TEXT NOT NULL,
        embedder TEXT NOT NULL,
        dimension INTEGER NOT NULL,
        max_characters INTEGER NOT NULL,   -- as the corpus had them when it began
        overlap_characters INTEGER,
        language TEXT NOT NULL,
        state INTEGER NOT NULL,            -- 1 under way, 2 taking over, 3 given up: to be deleted from the store
        PRIMARY KEY (tenant, shadow_id)
    ) STRICT, WITHOUT ROWID
    ;
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
INSERT INTO "settings" VALUES('revision',6);
INSERT INTO "settings" VALUES('token_key',X'0000000000000000000000000000000000000000000000000000000000000000');
CREATE INDEX documents_by_content ON documents (tenant, sha256);
CREATE INDEX documents_counted ON documents (tenant, corpus_id, deleting, passage_count);
CREATE INDEX jobs ON documents (crashes + interruptions, revision) WHERE state = 1 AND deleting = 0;
CREATE INDEX jobs_under_way ON documents (state) WHERE state = 2;
CREATE INDEX documents_unfinished ON documents (deleting) WHERE deleting = 1 OR unstored = 1;
CREATE INDEX request_ids_by_age ON request_ids (create_time);
CREATE UNIQUE INDEX reembeddings_by_corpus ON reembeddings (tenant, corpus_id) WHERE state < 3;
CREATE TRIGGER corpora_sealed_when_inserted AFTER INSERT ON corpora BEGIN UPDATE corpora SET checksum = row_checksum(NEW.tenant, NEW.corpus_id, NEW.display_name, NEW.labels, NEW.embedder, NEW.deleting, NEW.create_time, NEW.update_time, NEW.embedder_name, NEW.dimension, NEW.max_characters, NEW.overlap_characters, NEW.language) WHERE tenant = NEW.tenant AND corpus_id = NEW.corpus_id; END;
CREATE TRIGGER corpora_sealed_when_updated AFTER UPDATE OF tenant, corpus_id, display_name, labels, embedder, deleting, create_time, update_time, embedder_name, dimension, max_characters, overlap_characters, language ON corpora BEGIN UPDATE corpora SET checksum = row_checksum(NEW.tenant, NEW.corpus_id, NEW.display_name, NEW.labels, NEW.embedder, NEW.deleting, NEW.create_time, NEW.update_time, NEW.embedder_name, NEW.dimension, NEW.max_characters, NEW.overlap_characters, NEW.language) WHERE tenant = NEW.tenant AND corpus_id = NEW.corpus_id; END;
CREATE TRIGGER documents_sealed_when_inserted AFTER INSERT ON documents BEGIN UPDATE documents SET checksum = row_checksum(NEW.tenant, NEW.corpus_id, NEW.document_id, NEW.revision, NEW.title, NEW.found_title, NEW.uri, NEW.media_type, NEW.found_media_type, NEW.metadata, NEW.size_bytes, NEW.sha256, NEW.state, NEW.error, NEW.passage_count, NEW.crashes, NEW.interruptions, NEW.unstored, NEW.deleting, NEW.create_time, NEW.update_time, NEW.replaces) WHERE tenant = NEW.tenant AND corpus_id = NEW.corpus_id AND document_id = NEW.document_id; END;
CREATE TRIGGER documents_sealed_when_updated AFTER UPDATE OF tenant, corpus_id, document_id, revision, title, found_title, uri, media_type, found_media_type, metadata, size_bytes, sha256, state, error, passage_count, crashes, interruptions, unstored, deleting, create_time, update_time, replaces ON documents BEGIN UPDATE documents SET checksum = row_checksum(NEW.tenant, NEW.corpus_id, NEW.document_id, NEW.revision, NEW.title, NEW.found_title, NEW.uri, NEW.media_type, NEW.found_media_type, NEW.metadata, NEW.size_bytes, NEW.sha256, NEW.state, NEW.error, NEW.passage_count, NEW.crashes, NEW.interruptions, NEW.unstored, NEW.deleting, NEW.create_time, NEW.update_time, NEW.replaces) WHERE tenant = NEW.tenant AND corpus_id = NEW.corpus_id AND document_id = NEW.document_id; END;
COMMIT;
PRAGMA user_version = 3;
