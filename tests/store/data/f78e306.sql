BEGIN TRANSACTION;
CREATE TABLE announces (
	sequence BIGINT NOT NULL, 
	time_s DOUBLE NOT NULL, 
	subject VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	text TEXT NOT NULL, 
	CONSTRAINT pk_announces PRIMARY KEY (sequence)
);
INSERT INTO "announces" VALUES(1,0.0,'models/m','model.created','model m was created');
INSERT INTO "announces" VALUES(2,0.0,'models/m/versions/v1','instance.ready','m/v1#0 is ready at 127.0.0.1:5200');
INSERT INTO "announces" VALUES(3,0.0,'models/m/rollouts/r7','rollout.preparing','update from v1 to v2 by policy standard');
INSERT INTO "announces" VALUES(4,0.0,'models/m/versions/v2','instance.ready','m/v2#0 is ready at 127.0.0.1:5200');
INSERT INTO "announces" VALUES(5,0.0,'models/m/rollouts/r7','rollout.shifting','SHIFTING after NEW_READY');
INSERT INTO "announces" VALUES(6,0.0,'models/m/rollouts/r7','rollout.shifting','SHIFTING stage 1 (5 %) after INTRODUCED');
INSERT INTO "announces" VALUES(7,0.0,'models/m/rollouts/r7','rollout.observing','OBSERVING stage 1 (5 %) after ACKNOWLEDGED');
INSERT INTO "announces" VALUES(8,6.0,'models/m/rollouts/r7','rollout.shifting','SHIFTING stage 2 (15 %) after PASS');
INSERT INTO "announces" VALUES(9,6.0,'models/m/rollouts/r7','rollout.observing','OBSERVING stage 2 (15 %) after ACKNOWLEDGED');
INSERT INTO "announces" VALUES(10,12.0,'models/m/rollouts/r7','rollout.shifting','SHIFTING stage 3 (30 %) after PASS');
INSERT INTO "announces" VALUES(11,12.0,'models/m/rollouts/r7','rollout.observing','OBSERVING stage 3 (30 %) after ACKNOWLEDGED');
INSERT INTO "announces" VALUES(12,18.0,'models/m/rollouts/r7','rollout.shifting','SHIFTING stage 4 (50 %) after PASS');
INSERT INTO "announces" VALUES(13,18.0,'models/m/rollouts/r7','rollout.observing','OBSERVING stage 4 (50 %) after ACKNOWLEDGED');
INSERT INTO "announces" VALUES(14,18.0,'models/n','model.created','model n was created');
INSERT INTO "announces" VALUES(15,18.0,'models/n/versions/v1','instance.ready','n/v1#0 is ready at 127.0.0.1:5200');
INSERT INTO "announces" VALUES(16,18.0,'models/n/versions/v1','instance.ready','n/v1#1 is ready at 127.0.0.1:5201');
INSERT INTO "announces" VALUES(17,18.0,'models/n/rollouts/r30','rollout.preparing','update from v1 to v2 by policy test');
INSERT INTO "announces" VALUES(18,18.0,'models/n/versions/v2','version.failed','cannot load');
INSERT INTO "announces" VALUES(19,18.0,'models/n/rollouts/r30','rollout.cleaning','cleaning up after NEW_FAILED');
INSERT INTO "announces" VALUES(20,18.0,'models/n/versions/v2','instance.gone','n/v2#0 has gone');
INSERT INTO "announces" VALUES(21,18.0,'models/n/rollouts/r30','rollout.failed','ended: FAILED');
INSERT INTO "announces" VALUES(22,18.0,'models/n/versions/v1','instance.lost','n/v1#1 is started again: said so');
INSERT INTO "announces" VALUES(23,18.0,'models/o','model.created','model o was created');
INSERT INTO "announces" VALUES(24,18.0,'models/o/versions/v1','instance.ready','o/v1#0 is ready at 127.0.0.1:5200');
INSERT INTO "announces" VALUES(25,18.0,'models/o/versions/v2','instance.gone','o/v2#0 has gone');
INSERT INTO "announces" VALUES(26,18.0,'models/o/versions/v2','version.deleted','o/v2 was deleted');
INSERT INTO "announces" VALUES(27,18.0,'models/o','model.deleting','model o is drained and deleted');
INSERT INTO "announces" VALUES(28,18.0,'models/p','model.created','model p was created');
INSERT INTO "announces" VALUES(29,18.0,'models/p/versions/v1','version.failed','cannot load');
CREATE TABLE instances (
	model_id VARCHAR NOT NULL, 
	version_id VARCHAR NOT NULL, 
	ordinal BIGINT NOT NULL, 
	position INTEGER NOT NULL, 
	generation BIGINT NOT NULL, 
	state VARCHAR NOT NULL, 
	device_id VARCHAR NOT NULL, 
	pid BIGINT NOT NULL, 
	reserved_bytes BIGINT NOT NULL, 
	document JSON NOT NULL, 
	CONSTRAINT pk_instances PRIMARY KEY (model_id, version_id, ordinal), 
	CONSTRAINT fk_instances_versions FOREIGN KEY(model_id, version_id) REFERENCES versions (model_id, version_id) ON DELETE CASCADE
);
INSERT INTO "instances" VALUES('m','v1',0,0,1,'READY','host',4242,134217728,'{"goal":null,"address":"127.0.0.1:5200","failures":0,"restart_at_s":null,"ready_since_s":0.0,"drain_deadline_s":null,"measured_bytes":125829120,"failure":null,"alarm":false}');
INSERT INTO "instances" VALUES('m','v2',0,0,1,'READY','host',4242,134217728,'{"goal":null,"address":"127.0.0.1:5200","failures":0,"restart_at_s":null,"ready_since_s":0.0,"drain_deadline_s":null,"measured_bytes":0,"failure":null,"alarm":false}');
INSERT INTO "instances" VALUES('n','v1',0,0,1,'READY','host',4242,67108864,'{"goal":null,"address":"127.0.0.1:5200","failures":0,"restart_at_s":null,"ready_since_s":18.0,"drain_deadline_s":null,"measured_bytes":0,"failure":null,"alarm":false}');
INSERT INTO "instances" VALUES('n','v1',1,1,2,'STARTING','cuda:0',0,100663296,'{"goal":null,"address":"","failures":1,"restart_at_s":18.5,"ready_since_s":null,"drain_deadline_s":null,"measured_bytes":0,"failure":null,"alarm":false}');
INSERT INTO "instances" VALUES('o','v1',0,0,1,'READY','host',4242,33554432,'{"goal":null,"address":"127.0.0.1:5200","failures":0,"restart_at_s":null,"ready_since_s":18.0,"drain_deadline_s":null,"measured_bytes":0,"failure":null,"alarm":false}');
INSERT INTO "instances" VALUES('p','v1',0,0,1,'STOPPING','host',4242,33554432,'{"goal":"FAILED","address":"127.0.0.1:5200","failures":1,"restart_at_s":null,"ready_since_s":null,"drain_deadline_s":null,"measured_bytes":0,"failure":{"reason":"ENGINE_START_FAILED","message":"cannot load","violations":[],"resource":null,"plan":null,"retry_delay_s":null,"metadata":[]},"alarm":false}');
CREATE TABLE meta (
	meta_id INTEGER NOT NULL, 
	store_epoch BIGINT NOT NULL, 
	ledger_epoch BIGINT NOT NULL, 
	route_epoch BIGINT NOT NULL, 
	announce_sequence BIGINT NOT NULL, 
	writer VARCHAR NOT NULL, 
	CONSTRAINT pk_meta PRIMARY KEY (meta_id)
);
INSERT INTO "meta" VALUES(1,44,8,12,29,'process 27469');
CREATE TABLE models (
	row_id INTEGER NOT NULL, 
	model_id VARCHAR NOT NULL, 
	serving_version VARCHAR NOT NULL, 
	deleting VARCHAR NOT NULL, 
	create_time_s DOUBLE NOT NULL, 
	update_time_s DOUBLE NOT NULL, 
	document JSON NOT NULL, 
	CONSTRAINT pk_models PRIMARY KEY (row_id), 
	CONSTRAINT uq_models_model_id UNIQUE (model_id)
);
INSERT INTO "models" VALUES(1,'m','v1','',0.0,0.0,'{"routes":{"model":"m","epoch":7,"clusters":[{"version":"v1","weight_ppm":500000,"endpoints":[{"address":"127.0.0.1:5200","healthy":true}],"routed":true},{"version":"v2","weight_ppm":500000,"endpoints":[{"address":"127.0.0.1:5200","healthy":true}],"routed":true}]},"labels":[["team","vision"]]}');
INSERT INTO "models" VALUES(2,'n','v1','',18.0,18.0,'{"routes":{"model":"n","epoch":10,"clusters":[{"version":"v1","weight_ppm":1000000,"endpoints":[{"address":"127.0.0.1:5200","healthy":true}],"routed":true}]},"labels":[["team","search"]]}');
INSERT INTO "models" VALUES(3,'o','v1','op44',18.0,18.0,'{"routes":{"model":"o","epoch":12,"clusters":[]},"labels":[]}');
INSERT INTO "models" VALUES(4,'p','v1','',18.0,18.0,'{"routes":null,"labels":[]}');
CREATE TABLE operations (
	row_id INTEGER NOT NULL, 
	operation_id VARCHAR NOT NULL, 
	request_id VARCHAR, 
	kind VARCHAR NOT NULL, 
	model VARCHAR NOT NULL, 
	done BOOLEAN NOT NULL, 
	create_time_s DOUBLE NOT NULL, 
	end_time_s DOUBLE, 
	document JSON NOT NULL, 
	CONSTRAINT pk_operations PRIMARY KEY (row_id), 
	CONSTRAINT uq_operations_operation_id UNIQUE (operation_id), 
	CONSTRAINT uq_operations_request_id UNIQUE (request_id)
);
INSERT INTO "operations" VALUES(1,'op1','first-load','LOAD','m',1,0.0,0.0,'{"version":"v1","rollout_id":"","request_digest":"body","plan":{"fits":true,"architecture":"BertModel","parameter_count":22713216,"dtype":"FP32","context_length":512,"max_concurrency":8,"replicas":1,"bytes":120795955,"upper_bytes":134217728,"components":[],"device_ids":["host"],"devices":[],"alternatives":[],"reservoir":null,"surge":false,"warnings":[],"weight_format":"","ranks":[],"kv_bytes_per_token":0,"fitting_context_length":0,"fitting_max_concurrency":0,"calibration":null},"failure":null,"cancelled":false}');
INSERT INTO "operations" VALUES(2,'op7',NULL,'UPDATE','m',0,0.0,NULL,'{"version":"v2","rollout_id":"r7","request_digest":"body","plan":{"fits":true,"architecture":"BertModel","parameter_count":22713216,"dtype":"FP32","context_length":512,"max_concurrency":8,"replicas":1,"bytes":120795955,"upper_bytes":134217728,"components":[],"device_ids":["host"],"devices":[],"alternatives":[],"reservoir":null,"surge":false,"warnings":[],"weight_format":"","ranks":[],"kv_bytes_per_token":0,"fitting_context_length":0,"fitting_max_concurrency":0,"calibration":null},"failure":null,"cancelled":false}');
INSERT INTO "operations" VALUES(3,'op22',NULL,'LOAD','n',1,18.0,18.0,'{"version":"v1","rollout_id":"","request_digest":"body","plan":{"fits":true,"architecture":"BertModel","parameter_count":22713216,"dtype":"FP32","context_length":512,"max_concurrency":8,"replicas":2,"bytes":120795955,"upper_bytes":134217728,"components":[],"device_ids":["host","host"],"devices":[],"alternatives":[],"reservoir":null,"surge":false,"warnings":[],"weight_format":"","ranks":[],"kv_bytes_per_token":0,"fitting_context_length":0,"fitting_max_concurrency":0,"calibration":null},"failure":null,"cancelled":false}');
INSERT INTO "operations" VALUES(4,'op30',NULL,'UPDATE','n',1,18.0,18.0,'{"version":"v2","rollout_id":"r30","request_digest":"body","plan":{"fits":true,"architecture":"BertModel","parameter_count":22713216,"dtype":"FP32","context_length":512,"max_concurrency":8,"replicas":1,"bytes":120795955,"upper_bytes":134217728,"components":[],"device_ids":["host"],"devices":[],"alternatives":[],"reservoir":null,"surge":false,"warnings":[],"weight_format":"","ranks":[],"kv_bytes_per_token":0,"fitting_context_length":0,"fitting_max_concurrency":0,"calibration":null},"failure":{"reason":"ENGINE_START_FAILED","message":"cannot load","violations":[],"resource":null,"plan":null,"retry_delay_s":null,"metadata":[]},"cancelled":false}');
INSERT INTO "operations" VALUES(5,'op37',NULL,'LOAD','o',1,18.0,18.0,'{"version":"v1","rollout_id":"","request_digest":"body","plan":{"fits":true,"architecture":"BertModel","parameter_count":22713216,"dtype":"FP32","context_length":512,"max_concurrency":8,"replicas":1,"bytes":120795955,"upper_bytes":134217728,"components":[],"device_ids":["host"],"devices":[],"alternatives":[],"reservoir":null,"surge":false,"warnings":[],"weight_format":"","ranks":[],"kv_bytes_per_token":0,"fitting_context_length":0,"fitting_max_concurrency":0,"calibration":null},"failure":null,"cancelled":false}');
INSERT INTO "operations" VALUES(6,'op42',NULL,'LOAD','o',1,18.0,18.0,'{"version":"v2","rollout_id":"","request_digest":"body","plan":{"fits":true,"architecture":"BertModel","parameter_count":22713216,"dtype":"FP32","context_length":512,"max_concurrency":8,"replicas":1,"bytes":120795955,"upper_bytes":134217728,"components":[],"device_ids":["host"],"devices":[],"alternatives":[],"reservoir":null,"surge":false,"warnings":[],"weight_format":"","ranks":[],"kv_bytes_per_token":0,"fitting_context_length":0,"fitting_max_concurrency":0,"calibration":null},"failure":{"reason":"CANCELLED","message":"the version was unloaded while it was loading","violations":[],"resource":null,"plan":null,"retry_delay_s":null,"metadata":[]},"cancelled":false}');
INSERT INTO "operations" VALUES(7,'op43',NULL,'DELETE_VERSION','o',1,18.0,18.0,'{"version":"v2","rollout_id":"","request_digest":"body","plan":null,"failure":null,"cancelled":false}');
INSERT INTO "operations" VALUES(8,'op44',NULL,'DELETE_MODEL','o',0,18.0,NULL,'{"version":"","rollout_id":"","request_digest":"body","plan":null,"failure":null,"cancelled":false}');
INSERT INTO "operations" VALUES(9,'op45',NULL,'LOAD','p',1,18.0,18.0,'{"version":"v1","rollout_id":"","request_digest":"body","plan":{"fits":true,"architecture":"BertModel","parameter_count":22713216,"dtype":"FP32","context_length":512,"max_concurrency":8,"replicas":1,"bytes":120795955,"upper_bytes":134217728,"components":[],"device_ids":["host"],"devices":[],"alternatives":[],"reservoir":null,"surge":false,"warnings":[],"weight_format":"","ranks":[],"kv_bytes_per_token":0,"fitting_context_length":0,"fitting_max_concurrency":0,"calibration":null},"failure":{"reason":"ENGINE_START_FAILED","message":"cannot load","violations":[],"resource":null,"plan":null,"retry_delay_s":null,"metadata":[]},"cancelled":false}');
CREATE TABLE readings (
	engine VARCHAR NOT NULL, 
	engine_version VARCHAR NOT NULL, 
	device VARCHAR NOT NULL, 
	subject VARCHAR NOT NULL, 
	position INTEGER NOT NULL, 
	time_s DOUBLE NOT NULL, 
	document JSON NOT NULL, 
	CONSTRAINT pk_readings PRIMARY KEY (engine, engine_version, device, subject)
);
INSERT INTO "readings" VALUES('torch','torch 2','host memory','m/v1#0.1',0,9.0,'{"temporary_bytes":10,"beyond_bytes":20,"loaded_bytes":30,"load_beyond_bytes":40}');
CREATE TABLE rollout_events (
	model_id VARCHAR NOT NULL, 
	rollout_id VARCHAR NOT NULL, 
	sequence BIGINT NOT NULL, 
	time_s DOUBLE NOT NULL, 
	phase VARCHAR NOT NULL, 
	stage INTEGER NOT NULL, 
	document JSON NOT NULL, 
	CONSTRAINT pk_rollout_events PRIMARY KEY (model_id, rollout_id, sequence), 
	CONSTRAINT fk_rollout_events_rollouts FOREIGN KEY(model_id, rollout_id) REFERENCES rollouts (model_id, rollout_id) ON DELETE CASCADE
);
INSERT INTO "rollout_events" VALUES('m','r7',1,0.0,'PREPARING',0,'{"text":"update from v1 to v2 by policy standard","verdicts":[],"kind":"CREATED"}');
INSERT INTO "rollout_events" VALUES('m','r7',2,0.0,'SHIFTING',1,'{"text":"SHIFTING after NEW_READY","verdicts":[],"kind":"MOVED"}');
INSERT INTO "rollout_events" VALUES('m','r7',3,0.0,'SHIFTING',1,'{"text":"SHIFTING stage 1 (5 %) after INTRODUCED","verdicts":[],"kind":"MOVED"}');
INSERT INTO "rollout_events" VALUES('m','r7',4,0.0,'OBSERVING',1,'{"text":"OBSERVING stage 1 (5 %) after ACKNOWLEDGED","verdicts":[],"kind":"MOVED"}');
INSERT INTO "rollout_events" VALUES('m','r7',5,6.0,'SHIFTING',2,'{"text":"SHIFTING stage 2 (15 %) after PASS","verdicts":[{"gate":"errors","verdict":"PASS","reason":"because","confidence":0.0,"counts":[],"evidence":"LIVE","behaviour":null}],"kind":"MOVED"}');
INSERT INTO "rollout_events" VALUES('m','r7',6,6.0,'OBSERVING',2,'{"text":"OBSERVING stage 2 (15 %) after ACKNOWLEDGED","verdicts":[],"kind":"MOVED"}');
INSERT INTO "rollout_events" VALUES('m','r7',7,12.0,'SHIFTING',3,'{"text":"SHIFTING stage 3 (30 %) after PASS","verdicts":[{"gate":"errors","verdict":"PASS","reason":"because","confidence":0.0,"counts":[],"evidence":"LIVE","behaviour":null}],"kind":"MOVED"}');
INSERT INTO "rollout_events" VALUES('m','r7',8,12.0,'OBSERVING',3,'{"text":"OBSERVING stage 3 (30 %) after ACKNOWLEDGED","verdicts":[],"kind":"MOVED"}');
INSERT INTO "rollout_events" VALUES('m','r7',9,18.0,'SHIFTING',4,'{"text":"SHIFTING stage 4 (50 %) after PASS","verdicts":[{"gate":"errors","verdict":"PASS","reason":"because","confidence":0.0,"counts":[],"evidence":"LIVE","behaviour":null}],"kind":"MOVED"}');
INSERT INTO "rollout_events" VALUES('m','r7',10,18.0,'OBSERVING',4,'{"text":"OBSERVING stage 4 (50 %) after ACKNOWLEDGED","verdicts":[],"kind":"MOVED"}');
INSERT INTO "rollout_events" VALUES('n','r30',1,18.0,'PREPARING',0,'{"text":"update from v1 to v2 by policy test","verdicts":[],"kind":"CREATED"}');
INSERT INTO "rollout_events" VALUES('n','r30',2,18.0,'CLEANING',0,'{"text":"cleaning up after NEW_FAILED","verdicts":[],"kind":"MOVED"}');
INSERT INTO "rollout_events" VALUES('n','r30',3,18.0,'FAILED',0,'{"text":"ended: FAILED","verdicts":[],"kind":"MOVED"}');
CREATE TABLE rollouts (
	model_id VARCHAR NOT NULL, 
	rollout_id VARCHAR NOT NULL, 
	position INTEGER, 
	from_version VARCHAR NOT NULL, 
	to_version VARCHAR NOT NULL, 
	operation_id VARCHAR NOT NULL, 
	phase VARCHAR NOT NULL, 
	stage INTEGER NOT NULL, 
	create_time_s DOUBLE NOT NULL, 
	phase_since_s DOUBLE NOT NULL, 
	end_time_s DOUBLE, 
	document JSON NOT NULL, 
	CONSTRAINT pk_rollouts PRIMARY KEY (model_id, rollout_id), 
	CONSTRAINT fk_rollouts_models FOREIGN KEY(model_id) REFERENCES models (model_id) ON DELETE CASCADE
);
INSERT INTO "rollouts" VALUES('m','r7',NULL,'v1','v2','op7','OBSERVING',4,0.0,18.0,NULL,'{"policy":{"name":"standard","stages_percent":[5,15,30,50,75,90,100],"extended_stages_percent":[50,90],"stage_min_s":5.0,"stage_max_s":600.0,"soak_s":15.0,"max_error_increase":0.02,"confidence":0.95,"alpha":0.001,"slo_error_rate":0.01,"probe_count":60,"ack_timeout_s":10.0,"revert_timeout_s":30.0,"drain_timeout_s":300.0,"prepare_timeout_s":900.0,"on_expire":"ROLL_BACK","echo":{"enabled":true,"max_kl_nats":null,"max_distance":null,"alpha":0.002,"prompt_count":48,"required":false}},"behaviour_change":"EQUIVALENT","introduced":true,"window":9,"paused":false,"held_reason":"","observe_since_s":18.0,"goal":null,"ending":null,"verdicts":[]}');
INSERT INTO "rollouts" VALUES('n','r30',0,'v1','v2','op30','FAILED',0,18.0,18.0,18.0,'{"policy":{"name":"test","stages_percent":[50,100],"extended_stages_percent":[],"stage_min_s":0.0,"stage_max_s":100.0,"soak_s":1.0,"max_error_increase":0.02,"confidence":0.95,"alpha":0.001,"slo_error_rate":0.01,"probe_count":60,"ack_timeout_s":10.0,"revert_timeout_s":100.0,"drain_timeout_s":50.0,"prepare_timeout_s":100.0,"on_expire":"ROLL_BACK","echo":{"enabled":true,"max_kl_nats":null,"max_distance":null,"alpha":0.002,"prompt_count":48,"required":false}},"behaviour_change":"UNSPECIFIED","introduced":false,"window":1,"paused":false,"held_reason":"","observe_since_s":null,"goal":"FAILED","ending":{"reason":"ENGINE_START_FAILED","message":"cannot load","violations":[],"resource":null,"plan":null,"retry_delay_s":null,"metadata":[]},"verdicts":[]}');
CREATE TABLE schema (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT schema_pkc PRIMARY KEY (version_num)
);
INSERT INTO "schema" VALUES('0002');
CREATE TABLE versions (
	row_id INTEGER NOT NULL, 
	model_id VARCHAR NOT NULL, 
	version_id VARCHAR NOT NULL, 
	tier VARCHAR NOT NULL, 
	wanted BOOLEAN NOT NULL, 
	create_time_s DOUBLE NOT NULL, 
	document JSON NOT NULL, 
	CONSTRAINT pk_versions PRIMARY KEY (row_id), 
	CONSTRAINT uq_versions_model_id_version_id UNIQUE (model_id, version_id), 
	CONSTRAINT fk_versions_models FOREIGN KEY(model_id) REFERENCES models (model_id) ON DELETE CASCADE
);
INSERT INTO "versions" VALUES(1,'m','v1','HOT',1,0.0,'{"spec":{"source_uri":"file:v1","source_path":"/models/v1","digest":"blake3:v1","engine":"torch","dtype":"FP32","context_length":512,"max_concurrency":8,"replicas":1,"engine_options":[["torch_threads","2"]],"reservoir":{"spectral_radius":null,"leak":0.25,"input_scale":null,"seed":7,"block_density":null}},"facts":{"architecture":"BertModel","task":"EMBEDDING","parameter_count":22713216,"stored_dtype":"FP32","weights_bytes":90868376,"max_context_length":512,"size_class":"small","digest":"blake3:v1","signature":{"inputs":[{"name":"text","datatype":"BYTES","shape":[-1]}],"outputs":[{"name":"embedding","datatype":"FP32","shape":[-1,384]}]}},"plan":{"fits":true,"architecture":"BertModel","parameter_count":22713216,"dtype":"FP32","context_length":512,"max_concurrency":8,"replicas":1,"bytes":120795955,"upper_bytes":134217728,"components":[],"device_ids":["host"],"devices":[],"alternatives":[],"reservoir":null,"surge":false,"warnings":[],"weight_format":"","ranks":[],"kv_bytes_per_token":0,"fitting_context_length":0,"fitting_max_concurrency":0,"calibration":null},"pinned":true,"forget":false,"next_ordinal":1,"failure":null,"cache":{"hits":0,"misses":1,"last_hit_tier":null},"load_started_s":0.0,"load_duration_s":0.0,"requantised":{"measure":"KL","mean":0.02,"texts":48}}');
INSERT INTO "versions" VALUES(2,'m','v2','HOT',1,0.0,'{"spec":{"source_uri":"file:v2","source_path":"/models/v2","digest":"blake3:v2","engine":"torch","dtype":"FP32","context_length":512,"max_concurrency":8,"replicas":1,"engine_options":[],"reservoir":{"spectral_radius":null,"leak":null,"input_scale":null,"seed":null,"block_density":null}},"facts":{"architecture":"BertModel","task":"EMBEDDING","parameter_count":22713216,"stored_dtype":"FP32","weights_bytes":90868376,"max_context_length":512,"size_class":"small","digest":"blake3:v2","signature":{"inputs":[{"name":"text","datatype":"BYTES","shape":[-1]}],"outputs":[{"name":"embedding","datatype":"FP32","shape":[-1,384]}]}},"plan":{"fits":true,"architecture":"BertModel","parameter_count":22713216,"dtype":"FP32","context_length":512,"max_concurrency":8,"replicas":1,"bytes":120795955,"upper_bytes":134217728,"components":[],"device_ids":["host"],"devices":[],"alternatives":[],"reservoir":null,"surge":false,"warnings":[],"weight_format":"","ranks":[],"kv_bytes_per_token":0,"fitting_context_length":0,"fitting_max_concurrency":0,"calibration":null},"pinned":false,"forget":false,"next_ordinal":1,"failure":null,"cache":{"hits":0,"misses":1,"last_hit_tier":null},"load_started_s":0.0,"load_duration_s":0.0,"requantised":null}');
INSERT INTO "versions" VALUES(3,'n','v1','HOT',1,18.0,'{"spec":{"source_uri":"file:v1","source_path":"/models/v1","digest":"blake3:v1","engine":"torch","dtype":"FP32","context_length":512,"max_concurrency":8,"replicas":2,"engine_options":[],"reservoir":{"spectral_radius":null,"leak":null,"input_scale":null,"seed":null,"block_density":null}},"facts":{"architecture":"BertModel","task":"EMBEDDING","parameter_count":22713216,"stored_dtype":"FP32","weights_bytes":90868376,"max_context_length":512,"size_class":"small","digest":"blake3:v1","signature":{"inputs":[{"name":"text","datatype":"BYTES","shape":[-1]}],"outputs":[{"name":"embedding","datatype":"FP32","shape":[-1,384]}]}},"plan":{"fits":true,"architecture":"BertModel","parameter_count":22713216,"dtype":"FP32","context_length":512,"max_concurrency":8,"replicas":2,"bytes":120795955,"upper_bytes":134217728,"components":[],"device_ids":["host","host"],"devices":[],"alternatives":[],"reservoir":null,"surge":false,"warnings":[],"weight_format":"","ranks":[],"kv_bytes_per_token":0,"fitting_context_length":0,"fitting_max_concurrency":0,"calibration":null},"pinned":false,"forget":false,"next_ordinal":2,"failure":null,"cache":{"hits":0,"misses":1,"last_hit_tier":null},"load_started_s":18.0,"load_duration_s":0.0,"requantised":null}');
INSERT INTO "versions" VALUES(4,'n','v2','HOT',0,18.0,'{"spec":{"source_uri":"file:v2","source_path":"/models/v2","digest":"blake3:v2","engine":"torch","dtype":"FP32","context_length":512,"max_concurrency":8,"replicas":1,"engine_options":[],"reservoir":{"spectral_radius":null,"leak":null,"input_scale":null,"seed":null,"block_density":null}},"facts":{"architecture":"BertModel","task":"EMBEDDING","parameter_count":22713216,"stored_dtype":"FP32","weights_bytes":90868376,"max_context_length":512,"size_class":"small","digest":"blake3:v2","signature":{"inputs":[{"name":"text","datatype":"BYTES","shape":[-1]}],"outputs":[{"name":"embedding","datatype":"FP32","shape":[-1,384]}]}},"plan":{"fits":true,"architecture":"BertModel","parameter_count":22713216,"dtype":"FP32","context_length":512,"max_concurrency":8,"replicas":1,"bytes":120795955,"upper_bytes":134217728,"components":[],"device_ids":["host"],"devices":[],"alternatives":[],"reservoir":null,"surge":false,"warnings":[],"weight_format":"","ranks":[],"kv_bytes_per_token":0,"fitting_context_length":0,"fitting_max_concurrency":0,"calibration":null},"pinned":false,"forget":false,"next_ordinal":1,"failure":{"reason":"ENGINE_START_FAILED","message":"cannot load","violations":[],"resource":null,"plan":null,"retry_delay_s":null,"metadata":[]},"cache":{"hits":0,"misses":1,"last_hit_tier":null},"load_started_s":18.0,"load_duration_s":null,"requantised":null}');
INSERT INTO "versions" VALUES(5,'o','v1','HOT',0,18.0,'{"spec":{"source_uri":"file:v1","source_path":"/models/v1","digest":"blake3:v1","engine":"torch","dtype":"FP32","context_length":512,"max_concurrency":8,"replicas":1,"engine_options":[],"reservoir":{"spectral_radius":null,"leak":null,"input_scale":null,"seed":null,"block_density":null}},"facts":{"architecture":"BertModel","task":"EMBEDDING","parameter_count":22713216,"stored_dtype":"FP32","weights_bytes":90868376,"max_context_length":512,"size_class":"small","digest":"blake3:v1","signature":{"inputs":[{"name":"text","datatype":"BYTES","shape":[-1]}],"outputs":[{"name":"embedding","datatype":"FP32","shape":[-1,384]}]}},"plan":{"fits":true,"architecture":"BertModel","parameter_count":22713216,"dtype":"FP32","context_length":512,"max_concurrency":8,"replicas":1,"bytes":120795955,"upper_bytes":134217728,"components":[],"device_ids":["host"],"devices":[],"alternatives":[],"reservoir":null,"surge":false,"warnings":[],"weight_format":"","ranks":[],"kv_bytes_per_token":0,"fitting_context_length":0,"fitting_max_concurrency":0,"calibration":null},"pinned":false,"forget":true,"next_ordinal":1,"failure":null,"cache":{"hits":0,"misses":1,"last_hit_tier":null},"load_started_s":18.0,"load_duration_s":0.0,"requantised":null}');
INSERT INTO "versions" VALUES(6,'p','v1','HOT',1,18.0,'{"spec":{"source_uri":"file:v1","source_path":"/models/v1","digest":"blake3:v1","engine":"torch","dtype":"FP32","context_length":512,"max_concurrency":8,"replicas":1,"engine_options":[],"reservoir":{"spectral_radius":null,"leak":null,"input_scale":null,"seed":null,"block_density":null}},"facts":{"architecture":"BertModel","task":"EMBEDDING","parameter_count":22713216,"stored_dtype":"FP32","weights_bytes":90868376,"max_context_length":512,"size_class":"small","digest":"blake3:v1","signature":{"inputs":[{"name":"text","datatype":"BYTES","shape":[-1]}],"outputs":[{"name":"embedding","datatype":"FP32","shape":[-1,384]}]}},"plan":{"fits":true,"architecture":"BertModel","parameter_count":22713216,"dtype":"FP32","context_length":512,"max_concurrency":8,"replicas":1,"bytes":120795955,"upper_bytes":134217728,"components":[],"device_ids":["host"],"devices":[],"alternatives":[],"reservoir":null,"surge":false,"warnings":[],"weight_format":"","ranks":[],"kv_bytes_per_token":0,"fitting_context_length":0,"fitting_max_concurrency":0,"calibration":null},"pinned":true,"forget":false,"next_ordinal":1,"failure":{"reason":"ENGINE_START_FAILED","message":"cannot load","violations":[],"resource":null,"plan":null,"retry_delay_s":null,"metadata":[]},"cache":{"hits":0,"misses":1,"last_hit_tier":null},"load_started_s":18.0,"load_duration_s":null,"requantised":null}');
COMMIT;
