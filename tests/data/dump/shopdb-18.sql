--
-- PostgreSQL database dump
--

\restrict yMCblukeIGux9kRQLQ59dUxr0YzVe4io82OJophozL2AGYTlaNyeeJ7KmrRmsYq

-- Dumped from database version 13.23
-- Dumped by pg_dump version 18.4

-- Started on 2026-11-21 14:15:03 UTC

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

SET default_tablespace = '';

--
-- TOC entry 3619 (class 2606 OID 17696)
-- Dependencies: 243
-- Name: Weird "Table" %s \n Weird "Table" %s \n_pkey; Type: CONSTRAINT; Schema: Quoted Schema; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY "Quoted Schema"."Weird ""Table"" %s \n"
    ADD CONSTRAINT "Weird ""Table"" %s \n_pkey" PRIMARY KEY ("select");


--
-- TOC entry 3621 (class 2606 OID 17704)
-- Dependencies: 245
-- Name: a_table_name_that_is_exactly_sixty_three_characters_long_xxxxxx a_table_name_that_is_exactly_sixty_three_characters_long_x_pkey; Type: CONSTRAINT; Schema: Quoted Schema; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY "Quoted Schema".a_table_name_that_is_exactly_sixty_three_characters_long_xxxxxx
    ADD CONSTRAINT a_table_name_that_is_exactly_sixty_three_characters_long_x_pkey PRIMARY KEY (id);


--
-- TOC entry 3617 (class 2606 OID 17680)
-- Dependencies: 241
-- Name: doc doc_pkey; Type: CONSTRAINT; Schema: archive; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY archive.doc
    ADD CONSTRAINT doc_pkey PRIMARY KEY (id);


--
-- TOC entry 3574 (class 2606 OID 17480)
-- Dependencies: 222 222
-- Name: orders orders_pkey; Type: CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.orders
    ADD CONSTRAINT orders_pkey PRIMARY KEY (id, placed_at);


--
-- TOC entry 3593 (class 2606 OID 17537)
-- Dependencies: 227 3574 227 227
-- Name: orders_rest orders_rest_pkey; Type: CONSTRAINT; Schema: archive; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY archive.orders_rest
    ADD CONSTRAINT orders_rest_pkey PRIMARY KEY (id, placed_at);


--
-- TOC entry 3604 (class 2606 OID 17619)
-- Dependencies: 232 232
-- Name: booking booking_room_during_excl; Type: CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.booking
    ADD CONSTRAINT booking_room_during_excl EXCLUDE USING gist (room WITH =, during WITH &&);


--
-- TOC entry 3557 (class 2606 OID 17429)
-- Dependencies: 217 217
-- Name: category category_parent_id_name_key; Type: CONSTRAINT; Schema: sales; Owner: shop_owner
-- Data Pos: 0
--

ALTER TABLE ONLY sales.category
    ADD CONSTRAINT category_parent_id_name_key UNIQUE (parent_id, name);


--
-- TOC entry 3559 (class 2606 OID 17427)
-- Dependencies: 217
-- Name: category category_pkey; Type: CONSTRAINT; Schema: sales; Owner: shop_owner
-- Data Pos: 0
--

ALTER TABLE ONLY sales.category
    ADD CONSTRAINT category_pkey PRIMARY KEY (id);


--
-- TOC entry 3565 (class 2606 OID 17465)
-- Dependencies: 220
-- Name: customer customer_ext_id_key; Type: CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.customer
    ADD CONSTRAINT customer_ext_id_key UNIQUE (ext_id);


--
-- TOC entry 3568 (class 2606 OID 17463)
-- Dependencies: 220
-- Name: customer customer_pkey; Type: CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.customer
    ADD CONSTRAINT customer_pkey PRIMARY KEY (id);


--
-- TOC entry 3598 (class 2606 OID 17585)
-- Dependencies: 229
-- Name: department department_name_key; Type: CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.department
    ADD CONSTRAINT department_name_key UNIQUE (name);


--
-- TOC entry 3600 (class 2606 OID 17583)
-- Dependencies: 229
-- Name: department department_pkey; Type: CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.department
    ADD CONSTRAINT department_pkey PRIMARY KEY (id);


--
-- TOC entry 3602 (class 2606 OID 17596)
-- Dependencies: 231
-- Name: employee employee_pkey; Type: CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.employee
    ADD CONSTRAINT employee_pkey PRIMARY KEY (id);


--
-- TOC entry 3613 (class 2606 OID 17658)
-- Dependencies: 237
-- Name: empty_table empty_table_pkey; Type: CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.empty_table
    ADD CONSTRAINT empty_table_pkey PRIMARY KEY (id);


--
-- TOC entry 3607 (class 2606 OID 17640)
-- Dependencies: 235
-- Name: measurement measurement_pkey; Type: CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.measurement
    ADD CONSTRAINT measurement_pkey PRIMARY KEY (id);

ALTER TABLE sales.measurement CLUSTER ON measurement_pkey;


--
-- TOC entry 3615 (class 2606 OID 17669)
-- Dependencies: 239
-- Name: oddities oddities_pkey; Type: CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.oddities
    ADD CONSTRAINT oddities_pkey PRIMARY KEY (id);


--
-- TOC entry 3596 (class 2606 OID 17554)
-- Dependencies: 228 228 228
-- Name: order_item order_item_pkey; Type: CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.order_item
    ADD CONSTRAINT order_item_pkey PRIMARY KEY (order_id, placed_at, line);


--
-- TOC entry 3577 (class 2606 OID 17490)
-- Dependencies: 223 223 3574 223
-- Name: orders_2023 orders_2023_pkey; Type: CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.orders_2023
    ADD CONSTRAINT orders_2023_pkey PRIMARY KEY (id, placed_at);


--
-- TOC entry 3581 (class 2606 OID 17503)
-- Dependencies: 224 224 224 3574
-- Name: orders_2024 orders_2024_pkey; Type: CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.orders_2024
    ADD CONSTRAINT orders_2024_pkey PRIMARY KEY (id, placed_at);


--
-- TOC entry 3585 (class 2606 OID 17511)
-- Dependencies: 225 225 3581 225
-- Name: orders_2024_h0 orders_2024_h0_pkey; Type: CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.orders_2024_h0
    ADD CONSTRAINT orders_2024_h0_pkey PRIMARY KEY (id, placed_at);


--
-- TOC entry 3589 (class 2606 OID 17524)
-- Dependencies: 226 226 226 3581
-- Name: orders_2024_h1 orders_2024_h1_pkey; Type: CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.orders_2024_h1
    ADD CONSTRAINT orders_2024_h1_pkey PRIMARY KEY (id, placed_at);


--
-- TOC entry 3561 (class 2606 OID 17446)
-- Dependencies: 218
-- Name: product product_pkey; Type: CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.product
    ADD CONSTRAINT product_pkey PRIMARY KEY (code);


--
-- TOC entry 3611 (class 2606 OID 17650)
-- Dependencies: 236
-- Name: session_cache session_cache_pkey; Type: CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.session_cache
    ADD CONSTRAINT session_cache_pkey PRIMARY KEY (k);


--
-- TOC entry 3571 (class 1259 OID 17544)
-- Dependencies: 222 222
-- Name: orders_customer; Type: INDEX; Schema: sales; Owner: postgres
-- Data Pos: 0
--

CREATE INDEX orders_customer ON ONLY sales.orders USING btree (customer_id, placed_at);


--
-- TOC entry 3591 (class 1259 OID 17549)
-- Dependencies: 3571 227 227 227
-- Name: orders_rest_customer_id_placed_at_idx; Type: INDEX; Schema: archive; Owner: postgres
-- Data Pos: 0
--

CREATE INDEX orders_rest_customer_id_placed_at_idx ON archive.orders_rest USING btree (customer_id, placed_at);


--
-- TOC entry 3572 (class 1259 OID 17796)
-- Dependencies: 222 2430 222
-- Name: orders_note; Type: INDEX; Schema: sales; Owner: postgres
-- Data Pos: 0
--

CREATE INDEX orders_note ON ONLY sales.orders USING gin (to_tsvector('sales.plain'::regconfig, COALESCE(note, ''::text)));


--
-- TOC entry 3594 (class 1259 OID 17801)
-- Dependencies: 2430 227 3572 227 227
-- Name: orders_rest_to_tsvector_idx; Type: INDEX; Schema: archive; Owner: postgres
-- Data Pos: 0
--

CREATE INDEX orders_rest_to_tsvector_idx ON archive.orders_rest USING gin (to_tsvector('sales.plain'::regconfig, COALESCE(note, ''::text)));


--
-- TOC entry 3562 (class 1259 OID 17470)
-- Dependencies: 220 220
-- Name: customer_born; Type: INDEX; Schema: sales; Owner: postgres
-- Data Pos: 0
--

CREATE INDEX customer_born ON sales.customer USING btree (born DESC NULLS LAST) INCLUDE (name);


--
-- TOC entry 3563 (class 1259 OID 17466)
-- Dependencies: 5 13 5 5 13 5 13 5 13 5 13 13 5 5 5 5 13 5 13 5 13 5 13 13 5 5 5 13 5 13 5 13 5 13 13 13 5 5 13 5 13 5 13 5 13 13 13 5 5 13 5 13 5 13 5 13 13 5 13 5 5 13 5 13 5 13 5 13 13 5 5 13 5 13 5 13 5 13 13 5 5 5 13 5 13 5 13 5 13 13 5 5 13 5 13 5 13 5 13 13 5 13 5 5 13 5 13 5 13 5 13 13 5 5 13 5 13 5 13 5 13 13 13 5 5 13 5 5 13 5 13 5 13 5 13 13 5 5 13 5 13 5 13 5 13 13 5 5 13 5 13 5 13 5 13 13 13 5 5 13 5 13 5 13 5 13 13 5 13 5 5 13 5 13 5 13 5 13 13 5 5 13 5 13 5 13 5 13 13 5 5 5 13 5 13 5 13 5 13 13 5 5 13 5 13 5 13 5 13 13 13 5 13 5 5 13 5 13 5 13 5 13 13 5 5 5 13 5 13 5 13 5 13 13 5 5 13 5 13 5 13 5 13 13 13 5 5 13 5 13 5 13 5 13 13 13 220
-- Name: customer_email_key; Type: INDEX; Schema: sales; Owner: postgres
-- Data Pos: 0
--

CREATE UNIQUE INDEX customer_email_key ON sales.customer USING btree (email);


--
-- TOC entry 3566 (class 1259 OID 17467)
-- Dependencies: 2 13 2 2 13 2 13 2 13 2 13 2 13 13 2 13 2 13 2 13 2 13 2 13 220
-- Name: customer_name_trgm; Type: INDEX; Schema: sales; Owner: postgres
-- Data Pos: 0
--

CREATE INDEX customer_name_trgm ON sales.customer USING gin (name ext.gin_trgm_ops);


--
-- TOC entry 3569 (class 1259 OID 17469)
-- Dependencies: 220
-- Name: customer_profile; Type: INDEX; Schema: sales; Owner: postgres
-- Data Pos: 0
--

CREATE INDEX customer_profile ON sales.customer USING gin (profile jsonb_path_ops);


--
-- TOC entry 3570 (class 1259 OID 17468)
-- Dependencies: 220 220 629 220
-- Name: customer_slug; Type: INDEX; Schema: sales; Owner: postgres
-- Data Pos: 0
--

CREATE INDEX customer_slug ON sales.customer USING btree (sales.slug(name)) WHERE vip;


--
-- TOC entry 3605 (class 1259 OID 17632)
-- Dependencies: 234 234
-- Name: keyed_ab; Type: INDEX; Schema: sales; Owner: postgres
-- Data Pos: 0
--

CREATE UNIQUE INDEX keyed_ab ON sales.keyed USING btree (a, b);

ALTER TABLE ONLY sales.keyed REPLICA IDENTITY USING INDEX keyed_ab;


--
-- TOC entry 3608 (class 1259 OID 17641)
-- Dependencies: 235
-- Name: measurement_sensor; Type: INDEX; Schema: sales; Owner: postgres
-- Data Pos: 0
--

CREATE INDEX measurement_sensor ON sales.measurement USING btree (sensor);


--
-- TOC entry 3609 (class 1259 OID 17642)
-- Dependencies: 235
-- Name: measurement_value; Type: INDEX; Schema: sales; Owner: postgres
-- Data Pos: 0
--

CREATE INDEX measurement_value ON sales.measurement USING brin (value);


--
-- TOC entry 3622 (class 1259 OID 17782)
-- Dependencies: 248
-- Name: mv_sales_product; Type: INDEX; Schema: sales; Owner: postgres
-- Data Pos: 0
--

CREATE UNIQUE INDEX mv_sales_product ON sales.mv_sales USING btree (product);


--
-- TOC entry 3575 (class 1259 OID 17545)
-- Dependencies: 223 223 3571 223
-- Name: orders_2023_customer_id_placed_at_idx; Type: INDEX; Schema: sales; Owner: postgres
-- Data Pos: 0
--

CREATE INDEX orders_2023_customer_id_placed_at_idx ON sales.orders_2023 USING btree (customer_id, placed_at);


--
-- TOC entry 3578 (class 1259 OID 17797)
-- Dependencies: 223 223 2430 3572 223
-- Name: orders_2023_to_tsvector_idx; Type: INDEX; Schema: sales; Owner: postgres
-- Data Pos: 0
--

CREATE INDEX orders_2023_to_tsvector_idx ON sales.orders_2023 USING gin (to_tsvector('sales.plain'::regconfig, COALESCE(note, ''::text)));


--
-- TOC entry 3579 (class 1259 OID 17546)
-- Dependencies: 224 224 3571 224
-- Name: orders_2024_customer_id_placed_at_idx; Type: INDEX; Schema: sales; Owner: postgres
-- Data Pos: 0
--

CREATE INDEX orders_2024_customer_id_placed_at_idx ON ONLY sales.orders_2024 USING btree (customer_id, placed_at);


--
-- TOC entry 3583 (class 1259 OID 17547)
-- Dependencies: 225 3579 225 225
-- Name: orders_2024_h0_customer_id_placed_at_idx; Type: INDEX; Schema: sales; Owner: postgres
-- Data Pos: 0
--

CREATE INDEX orders_2024_h0_customer_id_placed_at_idx ON sales.orders_2024_h0 USING btree (customer_id, placed_at);


--
-- TOC entry 3582 (class 1259 OID 17798)
-- Dependencies: 224 224 224 3572 2430
-- Name: orders_2024_to_tsvector_idx; Type: INDEX; Schema: sales; Owner: postgres
-- Data Pos: 0
--

CREATE INDEX orders_2024_to_tsvector_idx ON ONLY sales.orders_2024 USING gin (to_tsvector('sales.plain'::regconfig, COALESCE(note, ''::text)));


--
-- TOC entry 3586 (class 1259 OID 17799)
-- Dependencies: 2430 225 3582 225 225
-- Name: orders_2024_h0_to_tsvector_idx; Type: INDEX; Schema: sales; Owner: postgres
-- Data Pos: 0
--

CREATE INDEX orders_2024_h0_to_tsvector_idx ON sales.orders_2024_h0 USING gin (to_tsvector('sales.plain'::regconfig, COALESCE(note, ''::text)));


--
-- TOC entry 3587 (class 1259 OID 17548)
-- Dependencies: 226 226 3579 226
-- Name: orders_2024_h1_customer_id_placed_at_idx; Type: INDEX; Schema: sales; Owner: postgres
-- Data Pos: 0
--

CREATE INDEX orders_2024_h1_customer_id_placed_at_idx ON sales.orders_2024_h1 USING btree (customer_id, placed_at);


--
-- TOC entry 3590 (class 1259 OID 17800)
-- Dependencies: 3582 226 2430 226 226
-- Name: orders_2024_h1_to_tsvector_idx; Type: INDEX; Schema: sales; Owner: postgres
-- Data Pos: 0
--

CREATE INDEX orders_2024_h1_to_tsvector_idx ON sales.orders_2024_h1 USING gin (to_tsvector('sales.plain'::regconfig, COALESCE(note, ''::text)));


--
-- TOC entry 3639 (class 2606 OID 17430)
-- Dependencies: 217 217 3559
-- Name: category category_parent_id_fkey; Type: FK CONSTRAINT; Schema: sales; Owner: shop_owner
-- Data Pos: 0
--

ALTER TABLE ONLY sales.category
    ADD CONSTRAINT category_parent_id_fkey FOREIGN KEY (parent_id) REFERENCES sales.category(id);


--
-- TOC entry 3644 (class 2606 OID 17607)
-- Dependencies: 229 3602 231
-- Name: department department_head; Type: FK CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.department
    ADD CONSTRAINT department_head FOREIGN KEY (head) REFERENCES sales.employee(id) DEFERRABLE INITIALLY DEFERRED;


--
-- TOC entry 3645 (class 2606 OID 17602)
-- Dependencies: 3602 231 231
-- Name: employee employee_boss_fkey; Type: FK CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.employee
    ADD CONSTRAINT employee_boss_fkey FOREIGN KEY (boss) REFERENCES sales.employee(id);


--
-- TOC entry 3646 (class 2606 OID 17597)
-- Dependencies: 231 229 3600
-- Name: employee employee_dept_fkey; Type: FK CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.employee
    ADD CONSTRAINT employee_dept_fkey FOREIGN KEY (dept) REFERENCES sales.department(id) DEFERRABLE INITIALLY DEFERRED;


--
-- TOC entry 3642 (class 2606 OID 17560)
-- Dependencies: 3624 3627 3630 3633 3636 222 228 228 3574 222
-- Name: order_item order_item_order_id_placed_at_fkey; Type: FK CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.order_item
    ADD CONSTRAINT order_item_order_id_placed_at_fkey FOREIGN KEY (order_id, placed_at) REFERENCES sales.orders(id, placed_at) ON DELETE CASCADE;


--
-- TOC entry 3643 (class 2606 OID 17555)
-- Dependencies: 218 228 3561
-- Name: order_item order_item_product_fkey; Type: FK CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.order_item
    ADD CONSTRAINT order_item_product_fkey FOREIGN KEY (product) REFERENCES sales.product(code) ON UPDATE CASCADE;


--
-- TOC entry 3641 (class 2606 OID 17481)
-- Dependencies: 3568 222 220
-- Name: orders orders_customer_id_fkey; Type: FK CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE sales.orders
    ADD CONSTRAINT orders_customer_id_fkey FOREIGN KEY (customer_id) REFERENCES sales.customer(id);


--
-- TOC entry 3640 (class 2606 OID 17447)
-- Dependencies: 3559 218 217
-- Name: product product_category_id_fkey; Type: FK CONSTRAINT; Schema: sales; Owner: postgres
-- Data Pos: 0
--

ALTER TABLE ONLY sales.product
    ADD CONSTRAINT product_category_id_fkey FOREIGN KEY (category_id) REFERENCES sales.category(id);


-- Completed on 2026-11-21 14:16:04 UTC

--
-- PostgreSQL database dump complete
--

\unrestrict yMCblukeIGux9kRQLQ59dUxr0YzVe4io82OJophozL2AGYTlaNyeeJ7KmrRmsYq

