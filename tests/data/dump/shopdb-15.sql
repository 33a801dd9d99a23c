--
-- PostgreSQL database dump
--

\restrict QJuad6PGGTwLghCBfWMh756CzTfBBxQdfA03obROuvx7iLPYWhmShWPY13Jjhi9

-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 15.18 (Debian 15.18-0+deb12u1)

-- Started on 2026-11-21 14:15:03 UTC

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

SET default_tablespace = '';

--
-- TOC entry 4015 (class 2606 OID 17715)
-- Dependencies: 257
-- Name: Weird "Table" %s \n Weird "Table" %s \n_pkey; Type: CONSTRAINT; Schema: Quoted Schema; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY "Quoted Schema"."Weird ""Table"" %s \n"
    ADD CONSTRAINT "Weird ""Table"" %s \n_pkey" PRIMARY KEY ("select");


--
-- TOC entry 4017 (class 2606 OID 17722)
-- Dependencies: 259
-- Name: a_table_name_that_is_exactly_sixty_three_characters_long_xxxxxx a_table_name_that_is_exactly_sixty_three_characters_long_x_pkey; Type: CONSTRAINT; Schema: Quoted Schema; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY "Quoted Schema".a_table_name_that_is_exactly_sixty_three_characters_long_xxxxxx
    ADD CONSTRAINT a_table_name_that_is_exactly_sixty_three_characters_long_x_pkey PRIMARY KEY (id);


--
-- TOC entry 4013 (class 2606 OID 17701)
-- Dependencies: 255
-- Name: doc doc_pkey; Type: CONSTRAINT; Schema: archive; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY archive.doc
    ADD CONSTRAINT doc_pkey PRIMARY KEY (id);


--
-- TOC entry 3970 (class 2606 OID 17509)
-- Dependencies: 236 236
-- Name: orders orders_pkey; Type: CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.orders
    ADD CONSTRAINT orders_pkey PRIMARY KEY (id, placed_at);


--
-- TOC entry 3989 (class 2606 OID 17567)
-- Dependencies: 241 241 3970 241
-- Name: orders_rest orders_rest_pkey; Type: CONSTRAINT; Schema: archive; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY archive.orders_rest
    ADD CONSTRAINT orders_rest_pkey PRIMARY KEY (id, placed_at);


--
-- TOC entry 4000 (class 2606 OID 17648)
-- Dependencies: 246 246
-- Name: booking booking_room_during_excl; Type: CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.booking
    ADD CONSTRAINT booking_room_during_excl EXCLUDE USING gist (room WITH =, during WITH &&);


--
-- TOC entry 3953 (class 2606 OID 17462)
-- Dependencies: 231 231
-- Name: category category_parent_id_name_key; Type: CONSTRAINT; Schema: sales; Owner: shop_owner
-- Data Pos: 0
--

ALTER TABLE ONLY sales.category
    ADD CONSTRAINT category_parent_id_name_key UNIQUE (parent_id, name);


--
-- TOC entry 3955 (class 2606 OID 17460)
-- Dependencies: 231
-- Name: category category_pkey; Type: CONSTRAINT; Schema: sales; Owner: shop_owner
-- Data Pos: 0
--

ALTER TABLE ONLY sales.category
    ADD CONSTRAINT category_pkey PRIMARY KEY (id);


--
-- TOC entry 3961 (class 2606 OID 17495)
-- Dependencies: 234
-- Name: customer customer_ext_id_key; Type: CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.customer
    ADD CONSTRAINT customer_ext_id_key UNIQUE (ext_id);


--
-- TOC entry 3964 (class 2606 OID 17493)
-- Dependencies: 234
-- Name: customer customer_pkey; Type: CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.customer
    ADD CONSTRAINT customer_pkey PRIMARY KEY (id);


--
-- TOC entry 3994 (class 2606 OID 17617)
-- Dependencies: 243
-- Name: department department_name_key; Type: CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.department
    ADD CONSTRAINT department_name_key UNIQUE (name);


--
-- TOC entry 3996 (class 2606 OID 17615)
-- Dependencies: 243
-- Name: department department_pkey; Type: CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.department
    ADD CONSTRAINT department_pkey PRIMARY KEY (id);


--
-- TOC entry 3998 (class 2606 OID 17626)
-- Dependencies: 245
-- Name: employee employee_pkey; Type: CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.employee
    ADD CONSTRAINT employee_pkey PRIMARY KEY (id);


--
-- TOC entry 4009 (class 2606 OID 17682)
-- Dependencies: 251
-- Name: empty_table empty_table_pkey; Type: CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.empty_table
    ADD CONSTRAINT empty_table_pkey PRIMARY KEY (id);


--
-- TOC entry 4003 (class 2606 OID 17666)
-- Dependencies: 249
-- Name: measurement measurement_pkey; Type: CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.measurement
    ADD CONSTRAINT measurement_pkey PRIMARY KEY (id);

ALTER TABLE sales.measurement CLUSTER ON measurement_pkey;


--
-- TOC entry 4011 (class 2606 OID 17692)
-- Dependencies: 253
-- Name: oddities oddities_pkey; Type: CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.oddities
    ADD CONSTRAINT oddities_pkey PRIMARY KEY (id);


--
-- TOC entry 3992 (class 2606 OID 17583)
-- Dependencies: 242 242 242
-- Name: order_item order_item_pkey; Type: CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.order_item
    ADD CONSTRAINT order_item_pkey PRIMARY KEY (order_id, placed_at, line);


--
-- TOC entry 3973 (class 2606 OID 17521)
-- Dependencies: 237 237 237 3970
-- Name: orders_2023 orders_2023_pkey; Type: CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.orders_2023
    ADD CONSTRAINT orders_2023_pkey PRIMARY KEY (id, placed_at);


--
-- TOC entry 3977 (class 2606 OID 17533)
-- Dependencies: 238 238 3970 238
-- Name: orders_2024 orders_2024_pkey; Type: CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.orders_2024
    ADD CONSTRAINT orders_2024_pkey PRIMARY KEY (id, placed_at);


--
-- TOC entry 3981 (class 2606 OID 17543)
-- Dependencies: 239 3977 239 239
-- Name: orders_2024_h0 orders_2024_h0_pkey; Type: CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.orders_2024_h0
    ADD CONSTRAINT orders_2024_h0_pkey PRIMARY KEY (id, placed_at);


--
-- TOC entry 3985 (class 2606 OID 17555)
-- Dependencies: 3977 240 240 240
-- Name: orders_2024_h1 orders_2024_h1_pkey; Type: CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.orders_2024_h1
    ADD CONSTRAINT orders_2024_h1_pkey PRIMARY KEY (id, placed_at);


--
-- TOC entry 3957 (class 2606 OID 17478)
-- Dependencies: 232
-- Name: product product_pkey; Type: CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.product
    ADD CONSTRAINT product_pkey PRIMARY KEY (code);


--
-- TOC entry 4007 (class 2606 OID 17675)
-- Dependencies: 250
-- Name: session_cache session_cache_pkey; Type: CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.session_cache
    ADD CONSTRAINT session_cache_pkey PRIMARY KEY (k);


--
-- TOC entry 3967 (class 1259 OID 17573)
-- Dependencies: 236 236
-- Name: orders_customer; Type: INDEX; Schema: sales; Owner: postgres
-- Data Pos: 0
--

CREATE INDEX orders_customer ON ONLY sales.orders USING btree (customer_id, placed_at);


--
-- TOC entry 3987 (class 1259 OID 17578)
-- Dependencies: 241 241 3967 241
-- Name: orders_rest_customer_id_placed_at_idx; Type: INDEX; Schema: archive; Owner: postgres
-- Data Pos: 0
--

CREATE INDEX orders_rest_customer_id_placed_at_idx ON archive.orders_rest USING btree (customer_id, placed_at);


--
-- TOC entry 3968 (class 1259 OID 17812)
-- Dependencies: 236 2744 236
-- Name: orders_note; Type: INDEX; Schema: sales; Owner: postgres
-- Data Pos: 0
--

CREATE INDEX orders_note ON ONLY sales.orders USING gin (to_tsvector('sales.plain'::regconfig, COALESCE(note, ''::text)));


--
-- TOC entry 3990 (class 1259 OID 17817)
-- Dependencies: 241 3968 241 2744 241
-- Name: orders_rest_to_tsvector_idx; Type: INDEX; Schema: archive; Owner: postgres
-- Data Pos: 0
--

CREATE INDEX orders_rest_to_tsvector_idx ON archive.orders_rest USING gin (to_tsvector('sales.plain'::regconfig, COALESCE(note, ''::text)));


--
-- TOC entry 3958 (class 1259 OID 17500)
-- Dependencies: 234 234
-- Name: customer_born; Type: INDEX; Schema: sales; Owner: postgres
-- Data Pos: 0
--

CREATE INDEX customer_born ON sales.customer USING btree (born DESC NULLS LAST) INCLUDE (name);


--
-- TOC entry 3959 (class 1259 OID 17496)
-- Dependencies: 234 5 13 5 5 5 13 5 13 5 13 5 13 5 13 13 5 5 13 5 13 5 13 5 13 5 13 13 5 5 13 5 13 5 13 5 13 5 13 5 13 5 13 5 13 5 13 5 13 5 13 13 13 5 13 5 13 5 13 5 13 5 13 5 13 5 13 5 13 5 13 5 13 5 13 5 13 5 13 5 13 5 13 5 13 5 13 5 13 5 5 13 5 13 5 13 5 13 5 13 5 13 5 13 5 13 5 13 5 13 5 13 13 5 5 13 5 13 5 13 5 13 5 13 13 5 13 5 13 5 13 5 13 5 13 5 13 5 13 5 13 5 13 5 13 5 13
-- Name: customer_email_key; Type: INDEX; Schema: sales; Owner: postgres
-- Data Pos: 0
--

CREATE UNIQUE INDEX customer_email_key ON sales.customer USING btree (email);


--
-- TOC entry 3962 (class 1259 OID 17497)
-- Dependencies: 234 2 13 2 2 2 13 13 13 2 13 2 13 2 2 13 13 2 13 2 13 2 13 2 13
-- Name: customer_name_trgm; Type: INDEX; Schema: sales; Owner: postgres
-- Data Pos: 0
--

CREATE INDEX customer_name_trgm ON sales.customer USING gin (name ext.gin_trgm_ops);


--
-- TOC entry 3965 (class 1259 OID 17499)
-- Dependencies: 234
-- Name: customer_profile; Type: INDEX; Schema: sales; Owner: postgres
-- Data Pos: 0
--

CREATE INDEX customer_profile ON sales.customer USING gin (profile jsonb_path_ops);


--
-- TOC entry 3966 (class 1259 OID 17498)
-- Dependencies: 234 234 656 234
-- Name: customer_slug; Type: INDEX; Schema: sales; Owner: postgres
-- Data Pos: 0
--

CREATE INDEX customer_slug ON sales.customer USING btree (sales.slug(name)) WHERE vip;


--
-- TOC entry 4001 (class 1259 OID 17659)
-- Dependencies: 248 248
-- Name: keyed_ab; Type: INDEX; Schema: sales; Owner: postgres
-- Data Pos: 0
--

CREATE UNIQUE INDEX keyed_ab ON sales.keyed USING btree (a, b);

ALTER TABLE ONLY sales.keyed REPLICA IDENTITY USING INDEX keyed_ab;


--
-- TOC entry 4004 (class 1259 OID 17667)
-- Dependencies: 249
-- Name: measurement_sensor; Type: INDEX; Schema: sales; Owner: postgres
-- Data Pos: 0
--

CREATE INDEX measurement_sensor ON sales.measurement USING btree (sensor);


--
-- TOC entry 4005 (class 1259 OID 17668)
-- Dependencies: 249
-- Name: measurement_value; Type: INDEX; Schema: sales; Owner: postgres
-- Data Pos: 0
--

CREATE INDEX measurement_value ON sales.measurement USING brin (value);


--
-- TOC entry 4018 (class 1259 OID 17799)
-- Dependencies: 262
-- Name: mv_sales_product; Type: INDEX; Schema: sales; Owner: postgres
-- Data Pos: 0
--

CREATE UNIQUE INDEX mv_sales_product ON sales.mv_sales USING btree (product);


--
-- TOC entry 3971 (class 1259 OID 17574)
-- Dependencies: 237 237 3967 237
-- Name: orders_2023_customer_id_placed_at_idx; Type: INDEX; Schema: sales; Owner: postgres
-- Data Pos: 0
--

CREATE INDEX orders_2023_customer_id_placed_at_idx ON sales.orders_2023 USING btree (customer_id, placed_at);


--
-- TOC entry 3974 (class 1259 OID 17813)
-- Dependencies: 3968 237 2744 237 237
-- Name: orders_2023_to_tsvector_idx; Type: INDEX; Schema: sales; Owner: postgres
-- Data Pos: 0
--

CREATE INDEX orders_2023_to_tsvector_idx ON sales.orders_2023 USING gin (to_tsvector('sales.plain'::regconfig, COALESCE(note, ''::text)));


--
-- TOC entry 3975 (class 1259 OID 17575)
-- Dependencies: 238 238 238 3967
-- Name: orders_2024_customer_id_placed_at_idx; Type: INDEX; Schema: sales; Owner: postgres
-- Data Pos: 0
--

CREATE INDEX orders_2024_customer_id_placed_at_idx ON ONLY sales.orders_2024 USING btree (customer_id, placed_at);


--
-- TOC entry 3979 (class 1259 OID 17576)
-- Dependencies: 239 239 3975 239
-- Name: orders_2024_h0_customer_id_placed_at_idx; Type: INDEX; Schema: sales; Owner: postgres
-- Data Pos: 0
--

CREATE INDEX orders_2024_h0_customer_id_placed_at_idx ON sales.orders_2024_h0 USING btree (customer_id, placed_at);


--
-- TOC entry 3978 (class 1259 OID 17814)
-- Dependencies: 238 2744 238 238 3968
-- Name: orders_2024_to_tsvector_idx; Type: INDEX; Schema: sales; Owner: postgres
-- Data Pos: 0
--

CREATE INDEX orders_2024_to_tsvector_idx ON ONLY sales.orders_2024 USING gin (to_tsvector('sales.plain'::regconfig, COALESCE(note, ''::text)));


--
-- TOC entry 3982 (class 1259 OID 17815)
-- Dependencies: 239 239 2744 3978 239
-- Name: orders_2024_h0_to_tsvector_idx; Type: INDEX; Schema: sales; Owner: postgres
-- Data Pos: 0
--

CREATE INDEX orders_2024_h0_to_tsvector_idx ON sales.orders_2024_h0 USING gin (to_tsvector('sales.plain'::regconfig, COALESCE(note, ''::text)));


--
-- TOC entry 3983 (class 1259 OID 17577)
-- Dependencies: 240 240 3975 240
-- Name: orders_2024_h1_customer_id_placed_at_idx; Type: INDEX; Schema: sales; Owner: postgres
-- Data Pos: 0
--

CREATE INDEX orders_2024_h1_customer_id_placed_at_idx ON sales.orders_2024_h1 USING btree (customer_id, placed_at);


--
-- TOC entry 3986 (class 1259 OID 17816)
-- Dependencies: 240 2744 240 240 3978
-- Name: orders_2024_h1_to_tsvector_idx; Type: INDEX; Schema: sales; Owner: postgres
-- Data Pos: 0
--

CREATE INDEX orders_2024_h1_to_tsvector_idx ON sales.orders_2024_h1 USING gin (to_tsvector('sales.plain'::regconfig, COALESCE(note, ''::text)));


--
-- TOC entry 4035 (class 2606 OID 17463)
-- Dependencies: 231 3955 231
-- Name: category category_parent_id_fkey; Type: FK CONSTRAINT; Schema: sales; Owner: shop_owner
-- Data Pos: 0
--

ALTER TABLE ONLY sales.category
    ADD CONSTRAINT category_parent_id_fkey FOREIGN KEY (parent_id) REFERENCES sales.category(id);


--
-- TOC entry 4040 (class 2606 OID 17637)
-- Dependencies: 245 243 3998
-- Name: department department_head; Type: FK CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.department
    ADD CONSTRAINT department_head FOREIGN KEY (head) REFERENCES sales.employee(id) DEFERRABLE INITIALLY DEFERRED;


--
-- TOC entry 4041 (class 2606 OID 17632)
-- Dependencies: 245 245 3998
-- Name: employee employee_boss_fkey; Type: FK CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.employee
    ADD CONSTRAINT employee_boss_fkey FOREIGN KEY (boss) REFERENCES sales.employee(id);


--
-- TOC entry 4042 (class 2606 OID 17627)
-- Dependencies: 243 3996 245
-- Name: employee employee_dept_fkey; Type: FK CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.employee
    ADD CONSTRAINT employee_dept_fkey FOREIGN KEY (dept) REFERENCES sales.department(id) DEFERRABLE INITIALLY DEFERRED;


--
-- TOC entry 4038 (class 2606 OID 17589)
-- Dependencies: 4020 4023 4026 4029 4032 3970 236 236 242 242
-- Name: order_item order_item_order_id_placed_at_fkey; Type: FK CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.order_item
    ADD CONSTRAINT order_item_order_id_placed_at_fkey FOREIGN KEY (order_id, placed_at) REFERENCES sales.orders(id, placed_at) ON DELETE CASCADE;


--
-- TOC entry 4039 (class 2606 OID 17584)
-- Dependencies: 3957 242 232
-- Name: order_item order_item_product_fkey; Type: FK CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.order_item
    ADD CONSTRAINT order_item_product_fkey FOREIGN KEY (product) REFERENCES sales.product(code) ON UPDATE CASCADE;


--
-- TOC entry 4037 (class 2606 OID 17510)
-- Dependencies: 234 236 3964
-- Name: orders orders_customer_id_fkey; Type: FK CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE sales.orders
    ADD CONSTRAINT orders_customer_id_fkey FOREIGN KEY (customer_id) REFERENCES sales.customer(id);


--
-- TOC entry 4036 (class 2606 OID 17479)
-- Dependencies: 232 231 3955
-- Name: product product_category_id_fkey; Type: FK CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.product
    ADD CONSTRAINT product_category_id_fkey FOREIGN KEY (category_id) REFERENCES sales.category(id);


-- Completed on 2026-11-21 14:16:04 UTC

--
-- PostgreSQL database dump complete
--

\unrestrict QJuad6PGGTwLghCBfWMh756CzTfBBxQdfA03obROuvx7iLPYWhmShWPY13Jjhi9

